//! How a user wants activations and weights observed: observer specs and the named defaults.

use crate::DType;

/// How scale and zero point are chosen from a range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum QScheme {
    /// One pair for the tensor.
    PerTensorAffine,
    /// One scale for the tensor, zero point in the middle.
    PerTensorSymmetric,
    /// One pair for each channel.
    PerChannelAffine,
    /// One scale for each channel, zero points in the middle.
    PerChannelSymmetric,
    /// Float zero points, for embeddings.
    PerChannelAffineFloatQparams,
}

impl QScheme {
    /// Whether every channel has its own parameters.
    pub const fn is_per_channel(self) -> bool {
        matches!(
            self,
            Self::PerChannelAffine | Self::PerChannelSymmetric | Self::PerChannelAffineFloatQparams
        )
    }

    /// Whether the zero point is fixed in the middle.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::PerTensorSymmetric | Self::PerChannelSymmetric)
    }
}

/// What an observer does with the values it sees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ObserverKind {
    /// `MinMaxObserver`: running minimum and maximum.
    MinMax,
    /// `MovingAverageMinMaxObserver`: both averaged with weight `averaging_constant`.
    MovingAverageMinMax {
        /// Weight of the newest range.
        averaging_constant: f64,
    },
    /// `PerChannelMinMaxObserver`: for each index of axis `ch_axis`.
    PerChannelMinMax {
        /// The channel axis.
        ch_axis: usize,
    },
    /// `MovingAveragePerChannelMinMaxObserver`.
    MovingAveragePerChannelMinMax {
        /// Weight of the newest range.
        averaging_constant: f64,
        /// The channel axis.
        ch_axis: usize,
    },
    /// `HistogramObserver`: the range that loses least, by torch's search over `bins` bins.
    Histogram {
        /// Number of bins.
        bins: usize,
    },
    /// The range that holds a share of the values, as many lost above it as below; PyTorch has no such observer.
    Percentile {
        /// Number of bins that values are counted in.
        bins: usize,
        /// The share kept, in percent: 99.99.
        percentile: f64,
    },
    /// `FixedQParamsObserver`: given scale and zero point.
    FixedQParams {
        /// The scale.
        scale: f64,
        /// The zero point.
        zero_point: i64,
    },
    /// `PlaceholderObserver`: says the dtype, observes nothing.
    Placeholder,
    /// `NoopObserver`.
    Noop,
    /// `ReuseInputObserver`: the output keeps the input's parameters.
    ReuseInput,
}

/// The class that stands in for rounding while a network is trained (`torch.ao.quantization.fake_quantize`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FakeQuantize {
    /// `FakeQuantize`: observes, then quantizes and dequantizes.
    Plain,
    /// `FusedMovingAvgObsFakeQuantize`: the same in one step, for moving averages.
    FusedMovingAvgObs,
    /// `FixedQParamsFakeQuantize`: with given parameters.
    FixedQParams,
}

/// An observer class with its arguments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ObserverSpec {
    /// What it does.
    pub kind: ObserverKind,
    /// The dtype it prepares for.
    pub dtype: DType,
    /// How parameters are chosen.
    pub qscheme: QScheme,
    /// Smallest quantized value, where given.
    pub quant_min: Option<i64>,
    /// Largest quantized value, where given.
    pub quant_max: Option<i64>,
    /// Smallest scale; `None` where the class has no such argument.
    pub eps: Option<f64>,
    /// One bit less, for kernels that could saturate.
    pub reduce_range: bool,
    /// Whether activations are quantized while the model runs.
    pub is_dynamic: bool,
    /// The class around the observer where a network is trained for quantization; calibration does not need it.
    pub fake_quantize: Option<FakeQuantize>,
}

/// `torch.finfo(torch.float32).eps`, the observers' default smallest scale.
pub const EPS: f64 = f32::EPSILON as f64;

impl ObserverSpec {
    const fn computing(kind: ObserverKind, dtype: DType, qscheme: QScheme) -> Self {
        Self {
            kind,
            dtype,
            qscheme,
            quant_min: None,
            quant_max: None,
            eps: Some(EPS),
            reduce_range: false,
            is_dynamic: false,
            fake_quantize: None,
        }
    }

    /// `MinMaxObserver`.
    pub const fn min_max(dtype: DType, qscheme: QScheme) -> Self {
        Self::computing(ObserverKind::MinMax, dtype, qscheme)
    }

    /// `PerChannelMinMaxObserver` over axis 0.
    pub const fn per_channel_min_max(dtype: DType, qscheme: QScheme) -> Self {
        Self::computing(
            ObserverKind::PerChannelMinMax { ch_axis: 0 },
            dtype,
            qscheme,
        )
    }

    /// `HistogramObserver` with torch's 2,048 bins.
    pub const fn histogram(dtype: DType) -> Self {
        Self::computing(
            ObserverKind::Histogram { bins: 2048 },
            dtype,
            QScheme::PerTensorAffine,
        )
    }

    /// An observer that keeps so many percent of the values, counted in 2,048 bins.
    pub const fn percentile(dtype: DType, percentile: f64) -> Self {
        Self::computing(
            ObserverKind::Percentile {
                bins: 2048,
                percentile,
            },
            dtype,
            QScheme::PerTensorAffine,
        )
    }

    /// `FixedQParamsObserver` for `quint8`.
    pub const fn fixed(scale: f64, zero_point: i64) -> Self {
        Self {
            eps: None,
            ..Self::computing(
                ObserverKind::FixedQParams { scale, zero_point },
                DType::quint8,
                QScheme::PerTensorAffine,
            )
        }
        .range(0, 255)
    }

    /// `PlaceholderObserver`; it computes nothing, but has an `eps` that bounds are held against.
    pub const fn placeholder(dtype: DType) -> Self {
        Self::computing(ObserverKind::Placeholder, dtype, QScheme::PerTensorAffine)
    }

    /// An observer class that has only a dtype.
    const fn bare(kind: ObserverKind, dtype: DType) -> Self {
        Self {
            eps: None,
            ..Self::computing(kind, dtype, QScheme::PerTensorAffine)
        }
    }

    /// `MovingAverageMinMaxObserver` with torch's constant, 0.01.
    pub const fn moving_average(dtype: DType, qscheme: QScheme) -> Self {
        let averaging_constant = 0.01;
        Self::computing(
            ObserverKind::MovingAverageMinMax { averaging_constant },
            dtype,
            qscheme,
        )
    }

    /// `MovingAveragePerChannelMinMaxObserver` over axis 0 with torch's constant, 0.01.
    pub const fn moving_average_per_channel(dtype: DType, qscheme: QScheme) -> Self {
        let kind = ObserverKind::MovingAveragePerChannelMinMax {
            averaging_constant: 0.01,
            ch_axis: 0,
        };
        Self::computing(kind, dtype, qscheme)
    }

    /// Inside a class for training.
    pub const fn fake_quantize(self, class: FakeQuantize) -> Self {
        Self {
            fake_quantize: Some(class),
            ..self
        }
    }

    /// With a quantized range.
    pub const fn range(self, quant_min: i64, quant_max: i64) -> Self {
        Self {
            quant_min: Some(quant_min),
            quant_max: Some(quant_max),
            ..self
        }
    }

    /// With a smallest scale.
    pub const fn eps(self, eps: f64) -> Self {
        Self {
            eps: Some(eps),
            ..self
        }
    }

    /// The range an instance of the class would use: the one given, else the dtype's, halved by
    /// `reduce_range`; `None` for observers that compute nothing and were given none.
    pub const fn quant_range(&self) -> Option<(i64, i64)> {
        if let (Some(min), Some(max)) = (self.quant_min, self.quant_max) {
            // torch halves a range given explicitly too (`calculate_qmin_qmax`)
            return if self.reduce_range && self.computes() {
                Some((min.div_euclid(2), max.div_euclid(2)))
            } else {
                Some((min, max))
            };
        }
        if !self.computes() {
            return None;
        }
        let range = match self.dtype {
            // torch observes for plain integers too (`calculate_qmin_qmax`)
            DType::uint8 => Some((0, 255)),
            DType::int8 => Some((-128, 127)),
            DType::int16 => Some((i16::MIN as i64, i16::MAX as i64)),
            DType::int32 => Some((i32::MIN as i64, i32::MAX as i64)),
            dtype => dtype.quant_range(),
        };
        match range {
            Some((min, max)) if self.reduce_range => Some((min.div_euclid(2), max.div_euclid(2))),
            range => range,
        }
    }

    /// Whether the class works scale and zero point out from what it sees.
    pub const fn computes(&self) -> bool {
        !matches!(
            self.kind,
            ObserverKind::Placeholder
                | ObserverKind::Noop
                | ObserverKind::ReuseInput
                | ObserverKind::FixedQParams { .. }
        )
    }
}

/// How activations and weights of a layer are to be quantized (`torch.ao.quantization.QConfig`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QConfig {
    /// For activations, in and out.
    pub activation: ObserverSpec,
    /// For weights.
    pub weight: ObserverSpec,
}

/// `2^-12`, the smallest scale that XNNPACK's requantization takes.
pub const SCALE_2_NEG_12: f64 = 1.0 / 4096.0;

impl QConfig {
    const PER_TENSOR_WEIGHT: ObserverSpec =
        ObserverSpec::min_max(DType::qint8, QScheme::PerTensorSymmetric);
    const PER_CHANNEL_WEIGHT: ObserverSpec =
        ObserverSpec::per_channel_min_max(DType::qint8, QScheme::PerChannelSymmetric);
    const DYNAMIC_ACTIVATION: ObserverSpec = ObserverSpec {
        is_dynamic: true,
        ..ObserverSpec::placeholder(DType::quint8)
    }
    .range(0, 255);
    const SYMMETRIC_ACTIVATION: ObserverSpec =
        ObserverSpec::histogram(DType::qint8).eps(SCALE_2_NEG_12);

    /// `default_qconfig`.
    pub const DEFAULT: QConfig = QConfig {
        activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine).range(0, 127),
        weight: Self::PER_TENSOR_WEIGHT,
    };
    /// `default_per_channel_qconfig`.
    pub const DEFAULT_PER_CHANNEL: QConfig = QConfig {
        weight: Self::PER_CHANNEL_WEIGHT,
        ..Self::DEFAULT
    };
    /// `default_dynamic_qconfig`.
    pub const DEFAULT_DYNAMIC: QConfig = QConfig {
        activation: Self::DYNAMIC_ACTIVATION,
        weight: Self::PER_TENSOR_WEIGHT,
    };
    /// `per_channel_dynamic_qconfig`.
    pub const PER_CHANNEL_DYNAMIC: QConfig = QConfig {
        weight: Self::PER_CHANNEL_WEIGHT,
        ..Self::DEFAULT_DYNAMIC
    };
    /// `float16_dynamic_qconfig`.
    pub const FLOAT16_DYNAMIC: QConfig = QConfig {
        activation: ObserverSpec {
            is_dynamic: true,
            ..ObserverSpec::placeholder(DType::float16)
        },
        weight: ObserverSpec::placeholder(DType::float16),
    };
    /// `float16_static_qconfig`.
    pub const FLOAT16_STATIC: QConfig = QConfig {
        activation: ObserverSpec::placeholder(DType::float16),
        weight: ObserverSpec::placeholder(DType::float16),
    };
    /// `float_qparams_weight_only_qconfig`: 8-bit rows.
    pub const FLOAT_QPARAMS_WEIGHT_ONLY: QConfig = QConfig {
        activation: ObserverSpec::placeholder(DType::float32),
        weight: ObserverSpec::per_channel_min_max(
            DType::quint8,
            QScheme::PerChannelAffineFloatQparams,
        ),
    };
    /// `float_qparams_weight_only_qconfig_4bit`: 4-bit rows.
    pub const FLOAT_QPARAMS_WEIGHT_ONLY_4BIT: QConfig = QConfig {
        weight: ObserverSpec::per_channel_min_max(
            DType::quint4x2,
            QScheme::PerChannelAffineFloatQparams,
        ),
        ..Self::FLOAT_QPARAMS_WEIGHT_ONLY
    };
    /// `default_symmetric_qnnpack_qconfig`.
    pub const DEFAULT_SYMMETRIC_QNNPACK: QConfig = QConfig {
        activation: Self::SYMMETRIC_ACTIVATION,
        weight: Self::PER_TENSOR_WEIGHT.range(-127, 127).eps(SCALE_2_NEG_12),
    };
    /// `default_per_channel_symmetric_qnnpack_qconfig`.
    pub const DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK: QConfig = QConfig {
        activation: Self::SYMMETRIC_ACTIVATION,
        weight: Self::PER_CHANNEL_WEIGHT
            .range(-127, 127)
            .eps(SCALE_2_NEG_12),
    };
    /// `default_reuse_input_qconfig`.
    pub const DEFAULT_REUSE_INPUT: QConfig = QConfig {
        activation: ObserverSpec::bare(ObserverKind::ReuseInput, DType::quint8),
        weight: ObserverSpec::bare(ObserverKind::Noop, DType::float16),
    };
    /// `get_default_qconfig("qnnpack")`.
    pub const QNNPACK: QConfig = QConfig {
        activation: ObserverSpec::histogram(DType::quint8),
        weight: Self::PER_TENSOR_WEIGHT,
    };
    /// `get_default_qconfig("x86")`, the same as for `fbgemm`.
    pub const X86: QConfig = QConfig {
        activation: ObserverSpec {
            reduce_range: true,
            ..ObserverSpec::histogram(DType::quint8)
        },
        weight: Self::PER_CHANNEL_WEIGHT,
    };
    /// `get_default_qconfig("onednn")`.
    pub const ONEDNN: QConfig = QConfig {
        weight: Self::PER_CHANNEL_WEIGHT,
        ..Self::QNNPACK
    };
    /// `default_quint8_weight_qconfig`.
    pub const DEFAULT_QUINT8_WEIGHT: QConfig = QConfig {
        activation: ObserverSpec::histogram(DType::quint8),
        weight: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine),
    };

    /// `default_fused_wt_fake_quant`
    const FUSED_WEIGHT: ObserverSpec =
        ObserverSpec::moving_average(DType::qint8, QScheme::PerTensorSymmetric)
            .range(-128, 127)
            .fake_quantize(FakeQuantize::FusedMovingAvgObs);
    /// `default_fused_per_channel_wt_fake_quant`
    const FUSED_PER_CHANNEL_WEIGHT: ObserverSpec =
        ObserverSpec::moving_average_per_channel(DType::qint8, QScheme::PerChannelSymmetric)
            .range(-128, 127)
            .fake_quantize(FakeQuantize::FusedMovingAvgObs);
    /// `default_weight_fake_quant`
    #[cfg(feature = "alloc")]
    pub(crate) const WEIGHT_FAKE_QUANT: ObserverSpec =
        Self::FUSED_WEIGHT.fake_quantize(FakeQuantize::Plain);

    /// `get_default_qat_qconfig("qnnpack")`.
    pub const QNNPACK_QAT: QConfig = QConfig {
        activation: ObserverSpec::moving_average(DType::quint8, QScheme::PerTensorAffine)
            .range(0, 255)
            .fake_quantize(FakeQuantize::FusedMovingAvgObs),
        weight: Self::FUSED_WEIGHT,
    };
    /// `get_default_qat_qconfig("x86")`, the same as for `fbgemm`.
    pub const X86_QAT: QConfig = QConfig {
        activation: ObserverSpec {
            reduce_range: true,
            ..Self::QNNPACK_QAT.activation
        },
        weight: Self::FUSED_PER_CHANNEL_WEIGHT,
    };
    /// `get_default_qat_qconfig("onednn")`.
    pub const ONEDNN_QAT: QConfig = QConfig {
        weight: Self::FUSED_PER_CHANNEL_WEIGHT,
        ..Self::QNNPACK_QAT
    };

    /// Every named qconfig, with PyTorch's name.
    pub const NAMED: &'static [(&'static str, QConfig)] = &[
        ("default_qconfig", Self::DEFAULT),
        ("default_per_channel_qconfig", Self::DEFAULT_PER_CHANNEL),
        ("default_dynamic_qconfig", Self::DEFAULT_DYNAMIC),
        ("per_channel_dynamic_qconfig", Self::PER_CHANNEL_DYNAMIC),
        ("float16_dynamic_qconfig", Self::FLOAT16_DYNAMIC),
        ("float16_static_qconfig", Self::FLOAT16_STATIC),
        (
            "float_qparams_weight_only_qconfig",
            Self::FLOAT_QPARAMS_WEIGHT_ONLY,
        ),
        (
            "float_qparams_weight_only_qconfig_4bit",
            Self::FLOAT_QPARAMS_WEIGHT_ONLY_4BIT,
        ),
        (
            "default_symmetric_qnnpack_qconfig",
            Self::DEFAULT_SYMMETRIC_QNNPACK,
        ),
        (
            "default_per_channel_symmetric_qnnpack_qconfig",
            Self::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK,
        ),
        ("default_reuse_input_qconfig", Self::DEFAULT_REUSE_INPUT),
        ("default_quint8_weight_qconfig", Self::DEFAULT_QUINT8_WEIGHT),
        ("qnnpack", Self::QNNPACK),
        ("x86", Self::X86),
        ("onednn", Self::ONEDNN),
        ("qnnpack_qat", Self::QNNPACK_QAT),
        ("x86_qat", Self::X86_QAT),
        ("onednn_qat", Self::ONEDNN_QAT),
    ];

    /// The qconfig of that name.
    pub fn named(name: &str) -> Option<QConfig> {
        Self::NAMED
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, qconfig)| *qconfig)
    }
}
