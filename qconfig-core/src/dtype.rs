//! Element types, with PyTorch's names.

use core::fmt;

/// The element type of a tensor, as PyTorch names it.
///
/// Quantized types (`qint8`, `quint8`, ...) carry a scale and a zero point beside their integers;
/// the others stand for themselves.
///
/// ```
/// use qconfig_core::DType;
/// assert_eq!(DType::from_name("quint8"), Some(DType::quint8));
/// assert_eq!(DType::quint8.quant_range(), Some((0, 255)));
/// assert_eq!(DType::float16.quant_range(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(
    non_camel_case_types,
    reason = "the names are PyTorch's, so that a reader of either finds the other"
)]
pub enum DType {
    /// Unsigned 8-bit, quantized.
    quint8,
    /// Signed 8-bit, quantized.
    qint8,
    /// Signed 32-bit, quantized: accumulators and biases.
    qint32,
    /// Two unsigned 4-bit values in a byte, quantized.
    quint4x2,
    /// Four unsigned 2-bit values in a byte, quantized.
    quint2x4,
    /// IEEE binary16.
    float16,
    /// bfloat16.
    bfloat16,
    /// IEEE binary32.
    float32,
    /// IEEE binary64.
    float64,
    /// Unsigned 8-bit integer.
    uint8,
    /// Signed 8-bit integer.
    int8,
    /// Signed 16-bit integer.
    int16,
    /// Signed 32-bit integer.
    int32,
    /// Signed 64-bit integer.
    int64,
    /// Boolean.
    bool,
}

impl DType {
    /// Every dtype, in declaration order.
    pub const ALL: &'static [DType] = &[
        DType::quint8,
        DType::qint8,
        DType::qint32,
        DType::quint4x2,
        DType::quint2x4,
        DType::float16,
        DType::bfloat16,
        DType::float32,
        DType::float64,
        DType::uint8,
        DType::int8,
        DType::int16,
        DType::int32,
        DType::int64,
        DType::bool,
    ];

    /// PyTorch's name, without the `torch.` prefix.
    pub const fn name(self) -> &'static str {
        match self {
            DType::quint8 => "quint8",
            DType::qint8 => "qint8",
            DType::qint32 => "qint32",
            DType::quint4x2 => "quint4x2",
            DType::quint2x4 => "quint2x4",
            DType::float16 => "float16",
            DType::bfloat16 => "bfloat16",
            DType::float32 => "float32",
            DType::float64 => "float64",
            DType::uint8 => "uint8",
            DType::int8 => "int8",
            DType::int16 => "int16",
            DType::int32 => "int32",
            DType::int64 => "int64",
            DType::bool => "bool",
        }
    }

    /// The dtype of that name; the short forms `f16`, `bf16`, `f32` and `f64` are understood too.
    pub fn from_name(name: &str) -> Option<DType> {
        match name {
            "f16" => Some(DType::float16),
            "bf16" => Some(DType::bfloat16),
            "f32" => Some(DType::float32),
            "f64" => Some(DType::float64),
            _ => Self::ALL.iter().copied().find(|dtype| dtype.name() == name),
        }
    }

    /// Whether values of this type carry a scale and a zero point.
    pub const fn is_quantized(self) -> bool {
        matches!(
            self,
            DType::quint8 | DType::qint8 | DType::qint32 | DType::quint4x2 | DType::quint2x4
        )
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            DType::float16 | DType::bfloat16 | DType::float32 | DType::float64
        )
    }

    /// The smallest and largest quantized value, or `None` where the type is not quantized.
    pub const fn quant_range(self) -> Option<(i64, i64)> {
        match self {
            DType::quint8 => Some((0, 255)),
            DType::qint8 => Some((-128, 127)),
            DType::qint32 => Some((i32::MIN as i64, i32::MAX as i64)),
            DType::quint4x2 => Some((0, 15)),
            DType::quint2x4 => Some((0, 3)),
            _ => None,
        }
    }

    /// Bits an element takes in memory.
    pub const fn bits(self) -> u32 {
        match self {
            DType::quint2x4 => 2,
            DType::quint4x2 => 4,
            DType::quint8 | DType::qint8 | DType::uint8 | DType::int8 | DType::bool => 8,
            DType::float16 | DType::bfloat16 | DType::int16 => 16,
            DType::qint32 | DType::float32 | DType::int32 => 32,
            DType::float64 | DType::int64 => 64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
