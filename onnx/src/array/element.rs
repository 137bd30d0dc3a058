//! Element types as Rust's.

use half::{bf16, f16};

use super::{Array, Data, ElementType};

/// A Rust type that is an element type.
pub trait Element: Clone + PartialEq + Default + std::fmt::Debug {
    /// The values as [`Data`].
    fn data(values: Vec<Self>) -> Data;
    /// The values, if they are of this type.
    fn of(data: &Data) -> Option<&[Self]>;
}

macro_rules! elements {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl Element for $type {
            fn data(values: Vec<Self>) -> Data {
                Data::$variant(values)
            }
            fn of(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$variant(values) => Some(values),
                    _ => None,
                }
            }
        })*
    };
}

elements! {
    f32 => Float32, f64 => Float64, f16 => Float16, bf16 => BFloat16,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    bool => Bool, String => String,
}

/// A number that operators compute with.
pub trait Number: Element + Copy + PartialOrd {
    /// As the widest float.
    fn to_f64(self) -> f64;
    /// Rounded to this type; integers cut what does not fit, as Rust's `as` does.
    fn from_f64(value: f64) -> Self;
    /// Sum; integers wrap.
    fn plus(self, other: Self) -> Self;
    /// Difference; integers wrap.
    fn minus(self, other: Self) -> Self;
    /// Product; integers wrap.
    fn times(self, other: Self) -> Self;
    /// Quotient; of integers rounded towards zero, 0 where the divisor is.
    fn over(self, other: Self) -> Self;
}

#[allow(clippy::cast_lossless, reason = "64 bits are among them")]
mod integers {
    use super::Number;
    macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn to_f64(self) -> f64 { self as f64 }
            fn from_f64(value: f64) -> Self { value as Self }
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn over(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
        })*
    };
}

    integers!(i8, i16, i32, i64, u8, u16, u32, u64);
}

macro_rules! floats {
    ($($type:ty, $to:expr, $from:expr);*) => {
        $(impl Number for $type {
            fn to_f64(self) -> f64 { $to(self) }
            fn from_f64(value: f64) -> Self { $from(value) }
            fn plus(self, other: Self) -> Self { self + other }
            fn minus(self, other: Self) -> Self { self - other }
            fn times(self, other: Self) -> Self { self * other }
            fn over(self, other: Self) -> Self { self / other }
        })*
    };
}

floats!(
    f32, f64::from, |x| x as f32;
    f64, |x| x, |x| x;
    f16, |x: f16| x.to_f64(), f16::from_f64;
    bf16, |x: bf16| x.to_f64(), bf16::from_f64
);

/// A value cut to a range of integers and rounded to even, as quantization does.
pub fn saturated(value: f64, low: i64, high: i64) -> i64 {
    (libm::rint(value) as i64).clamp(low, high)
}

/// The operator `Cast`: integers from floats are rounded towards zero, those of another width wrap.
pub fn cast(array: &Array, to: ElementType) -> Option<Array> {
    if array.element_type() == to {
        return Some(array.clone());
    }
    let data = match &array.data {
        Data::String(values) => {
            let parsed: Option<Vec<f64>> =
                values.iter().map(|text| text.trim().parse().ok()).collect();
            from_floats(&parsed?, to)?
        }
        Data::Bool(values) => from_integers(values.iter().map(|x| i64::from(*x)), to)?,
        Data::UInt64(values) => match to {
            ElementType::Float32 | ElementType::Float64 => {
                from_floats(&values.iter().map(|x| *x as f64).collect::<Vec<_>>(), to)?
            }
            _ => from_integers(values.iter().map(|x| *x as i64), to)?,
        },
        _ => match array.to_i64() {
            Some(values) => from_integers(values.into_iter(), to)?,
            None => from_floats(&to_f64(&array.data)?, to)?,
        },
    };
    Array::new(array.shape.clone(), data).ok()
}

fn to_f64(data: &Data) -> Option<Vec<f64>> {
    Some(match data {
        Data::Float32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::Float64(values) => values.clone(),
        Data::Float16(values) => values.iter().map(|x| x.to_f64()).collect(),
        Data::BFloat16(values) => values.iter().map(|x| x.to_f64()).collect(),
        _ => return None,
    })
}

fn from_integers(values: impl Iterator<Item = i64>, to: ElementType) -> Option<Data> {
    Some(match to {
        ElementType::Int8 => Data::Int8(values.map(|x| x as i8).collect()),
        ElementType::Int16 => Data::Int16(values.map(|x| x as i16).collect()),
        ElementType::Int32 => Data::Int32(values.map(|x| x as i32).collect()),
        ElementType::Int64 => Data::Int64(values.collect()),
        ElementType::UInt8 => Data::UInt8(values.map(|x| x as u8).collect()),
        ElementType::UInt16 => Data::UInt16(values.map(|x| x as u16).collect()),
        ElementType::UInt32 => Data::UInt32(values.map(|x| x as u32).collect()),
        ElementType::UInt64 => Data::UInt64(values.map(|x| x as u64).collect()),
        ElementType::Bool => Data::Bool(values.map(|x| x != 0).collect()),
        // the low four bits, with their sign
        ElementType::Int4 => Data::Int4(values.map(|x| ((x as i8) << 4) >> 4).collect()),
        ElementType::UInt4 => Data::UInt4(values.map(|x| x as u8 & 15).collect()),
        ElementType::Float32 => Data::Float32(values.map(|x| x as f32).collect()),
        ElementType::Float64 => Data::Float64(values.map(|x| x as f64).collect()),
        ElementType::Float16 => Data::Float16(values.map(|x| f16::from_f64(x as f64)).collect()),
        ElementType::BFloat16 => Data::BFloat16(values.map(|x| bf16::from_f64(x as f64)).collect()),
        ElementType::String => Data::String(values.map(|x| x.to_string()).collect()),
    })
}

fn from_floats(values: &[f64], to: ElementType) -> Option<Data> {
    Some(match to {
        ElementType::Float32 => Data::Float32(values.iter().map(|x| *x as f32).collect()),
        ElementType::Float64 => Data::Float64(values.to_vec()),
        ElementType::Float16 => Data::Float16(values.iter().map(|x| f16::from_f64(*x)).collect()),
        ElementType::BFloat16 => {
            // by way of f32, as the reference does
            let narrow = |x: &f64| bf16::from_f32(*x as f32);
            Data::BFloat16(values.iter().map(narrow).collect())
        }
        ElementType::Bool => Data::Bool(values.iter().map(|x| *x != 0.0).collect()),
        ElementType::UInt64 => Data::UInt64(values.iter().map(|x| *x as u64).collect()),
        ElementType::String => Data::String(values.iter().map(|x| format!("{x}")).collect()),
        _ => from_integers(values.iter().map(|x| *x as i64), to)?,
    })
}
