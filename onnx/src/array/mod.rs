//! Tensors as ONNX has them: a shape, and values of one of its element types.

mod broadcast;
mod element;
mod raw;

use half::{bf16, f16};

pub use self::broadcast::{Broadcast, broadcast_shape};
pub use self::element::{Element, Number, cast, saturated};
pub(crate) use self::raw::{from_raw, to_raw};

/// Element types; the numbers are those of `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum ElementType {
    Float32,
    Float64,
    Float16,
    BFloat16,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Bool,
    Int4,
    UInt4,
    String,
}

impl ElementType {
    /// The type that ONNX numbers so, where it is one of these.
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Float32,
            2 => Self::UInt8,
            3 => Self::Int8,
            4 => Self::UInt16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::String,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Float64,
            12 => Self::UInt32,
            13 => Self::UInt64,
            16 => Self::BFloat16,
            21 => Self::UInt4,
            22 => Self::Int4,
            _ => return None,
        })
    }

    /// ONNX's number for it.
    pub fn number(self) -> i32 {
        match self {
            Self::Float32 => 1,
            Self::UInt8 => 2,
            Self::Int8 => 3,
            Self::UInt16 => 4,
            Self::Int16 => 5,
            Self::Int32 => 6,
            Self::Int64 => 7,
            Self::String => 8,
            Self::Bool => 9,
            Self::Float16 => 10,
            Self::Float64 => 11,
            Self::UInt32 => 12,
            Self::UInt64 => 13,
            Self::BFloat16 => 16,
            Self::UInt4 => 21,
            Self::Int4 => 22,
        }
    }

    /// Whether values are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::Float32 | Self::Float64 | Self::Float16 | Self::BFloat16
        )
    }
}

/// The values of an [`Array`], row-major.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Data {
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Float16(Vec<f16>),
    BFloat16(Vec<bf16>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Bool(Vec<bool>),
    /// One value an element, -8..=7.
    Int4(Vec<i8>),
    /// One value an element, 0..=15.
    UInt4(Vec<u8>),
    String(Vec<String>),
}

/// Calls an expression with the vector inside a [`Data`], whatever its type.
#[macro_export]
#[doc(hidden)]
macro_rules! with_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::array::Data::Float32($values) => $body,
            $crate::array::Data::Float64($values) => $body,
            $crate::array::Data::Float16($values) => $body,
            $crate::array::Data::BFloat16($values) => $body,
            $crate::array::Data::Int8($values) => $body,
            $crate::array::Data::Int16($values) => $body,
            $crate::array::Data::Int32($values) => $body,
            $crate::array::Data::Int64($values) => $body,
            $crate::array::Data::UInt8($values) => $body,
            $crate::array::Data::UInt16($values) => $body,
            $crate::array::Data::UInt32($values) => $body,
            $crate::array::Data::UInt64($values) => $body,
            $crate::array::Data::Bool($values) => $body,
            $crate::array::Data::Int4($values) => $body,
            $crate::array::Data::UInt4($values) => $body,
            $crate::array::Data::String($values) => $body,
        }
    };
}

/// Makes a [`Data`] of the same type from the vector inside another.
#[macro_export]
#[doc(hidden)]
macro_rules! map_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::array::Data::Float32($values) => $crate::array::Data::Float32($body),
            $crate::array::Data::Float64($values) => $crate::array::Data::Float64($body),
            $crate::array::Data::Float16($values) => $crate::array::Data::Float16($body),
            $crate::array::Data::BFloat16($values) => $crate::array::Data::BFloat16($body),
            $crate::array::Data::Int8($values) => $crate::array::Data::Int8($body),
            $crate::array::Data::Int16($values) => $crate::array::Data::Int16($body),
            $crate::array::Data::Int32($values) => $crate::array::Data::Int32($body),
            $crate::array::Data::Int64($values) => $crate::array::Data::Int64($body),
            $crate::array::Data::UInt8($values) => $crate::array::Data::UInt8($body),
            $crate::array::Data::UInt16($values) => $crate::array::Data::UInt16($body),
            $crate::array::Data::UInt32($values) => $crate::array::Data::UInt32($body),
            $crate::array::Data::UInt64($values) => $crate::array::Data::UInt64($body),
            $crate::array::Data::Bool($values) => $crate::array::Data::Bool($body),
            $crate::array::Data::Int4($values) => $crate::array::Data::Int4($body),
            $crate::array::Data::UInt4($values) => $crate::array::Data::UInt4($body),
            $crate::array::Data::String($values) => $crate::array::Data::String($body),
        }
    };
}

impl Data {
    /// The type of the values.
    pub fn element_type(&self) -> ElementType {
        match self {
            Data::Float32(_) => ElementType::Float32,
            Data::Float64(_) => ElementType::Float64,
            Data::Float16(_) => ElementType::Float16,
            Data::BFloat16(_) => ElementType::BFloat16,
            Data::Int8(_) => ElementType::Int8,
            Data::Int16(_) => ElementType::Int16,
            Data::Int32(_) => ElementType::Int32,
            Data::Int64(_) => ElementType::Int64,
            Data::UInt8(_) => ElementType::UInt8,
            Data::UInt16(_) => ElementType::UInt16,
            Data::UInt32(_) => ElementType::UInt32,
            Data::UInt64(_) => ElementType::UInt64,
            Data::Bool(_) => ElementType::Bool,
            Data::Int4(_) => ElementType::Int4,
            Data::UInt4(_) => ElementType::UInt4,
            Data::String(_) => ElementType::String,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        with_data!(self, values => values.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor.
///
/// ```
/// use qconfig_onnx::{Array, Data};
/// let a = Array::new(vec![2, 2], Data::Int64(vec![1, 2, 3, 4])).unwrap();
/// assert_eq!(a.to_i64(), Some(vec![1, 2, 3, 4]));
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

/// The values do not fill the shape.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{found} values do not fill the shape {shape:?}")]
pub struct FillError {
    /// The shape.
    pub shape: Vec<usize>,
    /// The values.
    pub found: usize,
}

impl Array {
    /// A tensor of that shape, which may hold zeros, or be empty for a scalar.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self, FillError> {
        if elements(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            let found = data.len();
            Err(FillError { shape, found })
        }
    }

    /// One value without dimensions.
    pub fn scalar(value: impl Element) -> Self {
        let (shape, data) = (Vec::new(), Element::data(vec![value]));
        Self { shape, data }
    }

    /// Values in one dimension.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        let shape = vec![values.len()];
        let data = Element::data(values);
        Self { shape, data }
    }

    /// Dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Shape and values.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// The type of the values.
    pub fn element_type(&self) -> ElementType {
        self.data.element_type()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, if they are of that type.
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        T::of(&self.data)
    }

    /// Floats of any width as `f32`; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        Some(match &self.data {
            Data::Float32(values) => values.clone(),
            Data::Float64(values) => values.iter().map(|x| *x as f32).collect(),
            Data::Float16(values) => values.iter().map(|x| x.to_f32()).collect(),
            Data::BFloat16(values) => values.iter().map(|x| x.to_f32()).collect(),
            _ => return None,
        })
    }

    /// Integers of any width as `i64`; `None` for other types, and for values beyond it.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::Int64(values) => values.clone(),
            Data::Int32(values) => values.iter().map(|x| i64::from(*x)).collect(),
            Data::Int16(values) => values.iter().map(|x| i64::from(*x)).collect(),
            Data::Int8(values) | Data::Int4(values) => {
                values.iter().map(|x| i64::from(*x)).collect()
            }
            Data::UInt8(values) | Data::UInt4(values) => {
                values.iter().map(|x| i64::from(*x)).collect()
            }
            Data::UInt16(values) => values.iter().map(|x| i64::from(*x)).collect(),
            Data::UInt32(values) => values.iter().map(|x| i64::from(*x)).collect(),
            Data::UInt64(values) => values
                .iter()
                .map(|x| i64::try_from(*x).ok())
                .collect::<Option<_>>()?,
            _ => return None,
        })
    }

    /// The same values under another shape.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn reshaped(self, shape: Vec<usize>) -> Result<Self, FillError> {
        Self::new(shape, self.data)
    }

    /// A tensor of that shape whose element `at` is element `from(at)` of this one; `from` must stay
    /// inside, else there is none.
    pub fn gathered(&self, shape: Vec<usize>, from: impl Fn(usize) -> usize) -> Option<Self> {
        let count = elements(&shape)?;
        let data = map_data!(&self.data, values => (0..count)
            .map(|at| values.get(from(at)).cloned())
            .collect::<Option<Vec<_>>>()?);
        Some(Self { shape, data })
    }
}

/// Number of elements, or `None` where the product overflows or is beyond what memory holds.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // 2^40 elements fill any memory; what has none is still looped over dimension by dimension
    let bound = if shape.contains(&0) { 1 << 28 } else { 1 << 40 };
    let mut nonzero = shape.iter().map(|dim| (*dim).max(1));
    nonzero
        .try_fold(1usize, |n, dim| n.checked_mul(dim))
        .filter(|n| *n <= bound)
        .map(|n| if shape.contains(&0) { 0 } else { n })
}

/// Elements between neighbours of each dimension, row-major.
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at].saturating_mul(shape[at]);
    }
    strides
}
