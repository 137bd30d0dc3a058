//! Dtype configs and observation types.

use core::fmt;

use crate::constraint::Origin;
use crate::{DType, DTypeWithConstraints};

/// Which dtypes go in, come out, and are stored as weight and bias
/// (`torch.ao.quantization.backend_config.DTypeConfig`).
///
/// ```
/// use qconfig_core::{DType, DTypeConfig, DTypeWithConstraints};
/// const DYNAMIC: DTypeConfig = DTypeConfig {
///     weight: Some(DTypeWithConstraints::new(DType::qint8)),
///     bias: Some(DType::float32),
///     is_dynamic: true,
///     ..DTypeConfig::new("dynamic_int8", DType::quint8, DType::float32)
/// };
/// assert!(DYNAMIC.problem().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DTypeConfig {
    /// The name the spec gives it.
    pub name: &'static str,
    /// Activations that come in.
    pub input: Option<DTypeWithConstraints>,
    /// The activation that goes out.
    pub output: Option<DTypeWithConstraints>,
    /// The weight, where there is one.
    pub weight: Option<DTypeWithConstraints>,
    /// The bias, where there is one.
    pub bias: Option<DType>,
    /// Whether activations are quantized while the model runs.
    pub is_dynamic: bool,
    /// Where it is declared.
    pub origin: Origin,
}

/// `input qint8, scale >= 2^-12; output ..; weight ..; bias float32`
impl fmt::Display for DTypeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = if self.is_dynamic { "dynamic; " } else { "" };
        let parts = [
            ("input", &self.input),
            ("output", &self.output),
            ("weight", &self.weight),
        ];
        for (name, dtype) in parts {
            if let Some(dtype) = dtype {
                write!(f, "{separator}{name} {dtype}")?;
                separator = "; ";
            }
        }
        match self.bias {
            Some(bias) => write!(f, "{separator}bias {bias}"),
            None => Ok(()),
        }
    }
}

impl DTypeConfig {
    /// A static config of an operator without weight.
    pub const fn new(name: &'static str, input: DType, output: DType) -> Self {
        Self {
            name,
            input: Some(DTypeWithConstraints::new(input)),
            output: Some(DTypeWithConstraints::new(output)),
            weight: None,
            bias: None,
            is_dynamic: false,
            origin: Origin { file: "", line: 0 },
        }
    }

    /// The first rule that the dtypes break as a whole; bounds are checked by
    /// [`DTypeWithConstraints::problems`].
    pub const fn problem(&self) -> Option<ConfigProblem> {
        let (Some(input), Some(output)) = (&self.input, &self.output) else {
            return Some(ConfigProblem::Missing {
                field: if self.input.is_none() {
                    "input"
                } else {
                    "output"
                },
            });
        };
        let weight = match &self.weight {
            Some(weight) => Some(weight.dtype),
            None => None,
        };
        config_problem(
            input.dtype,
            output.dtype,
            weight,
            self.bias,
            self.is_dynamic,
        )
    }
}

/// The first rule that a combination of dtypes breaks.
pub const fn config_problem(
    input: DType,
    output: DType,
    weight: Option<DType>,
    bias: Option<DType>,
    is_dynamic: bool,
) -> Option<ConfigProblem> {
    if is_dynamic && !output.is_float() {
        return Some(ConfigProblem::DynamicOutput { output });
    }
    if let Some(bias) = bias
        && !matches!(
            bias,
            DType::float32 | DType::float16 | DType::bfloat16 | DType::qint32
        )
    {
        return Some(ConfigProblem::Bias { bias });
    }
    if let Some(DType::float32) = weight
        && input.is_quantized()
    {
        return Some(ConfigProblem::FloatWeight);
    }
    None
}

/// A rule that a dtype config breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// `input` and `output` are required.
    #[error("has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Dynamic kernels give floats.
    #[error("a dynamic config must produce a float output, but `output` is `{output}`")]
    DynamicOutput {
        /// The output found.
        output: DType,
    },
    /// No engine has such a bias.
    #[error("bias is `{bias}`; bias must be `f32`, `f16`, `bf16` or `qint32`")]
    Bias {
        /// The bias found.
        bias: DType,
    },
    /// A lint: no kernel takes it.
    #[error("`f32` weight with quantized `input` is never matched by a kernel")]
    FloatWeight,
}

impl ConfigProblem {
    /// Whether it is only worth a warning.
    pub const fn is_lint(&self) -> bool {
        matches!(self, ConfigProblem::FloatWeight)
    }
}

/// How the output of a pattern is observed (`torch.ao.quantization.backend_config.ObservationType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "SCREAMING_SNAKE_CASE"))]
pub enum ObservationType {
    /// The output has an observer of its own: `observe: separate`.
    #[default]
    OutputUseDifferentObserverAsInput,
    /// The output shares the input's observer: `observe: shared`.
    OutputShareObserverWithInput,
    /// Neither is observed: `observe: none`.
    InputOutputNotObserved,
}

impl ObservationType {
    /// PyTorch's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutputUseDifferentObserverAsInput => "OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT",
            Self::OutputShareObserverWithInput => "OUTPUT_SHARE_OBSERVER_WITH_INPUT",
            Self::InputOutputNotObserved => "INPUT_OUTPUT_NOT_OBSERVED",
        }
    }
}
