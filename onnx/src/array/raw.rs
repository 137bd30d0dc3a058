//! Values from the little-endian bytes of a file.

use half::{bf16, f16};

use super::{Data, ElementType};

/// The values of `raw_data` or of an external file; `None` where the bytes are not `count` of them.
pub(crate) fn from_raw(bytes: &[u8], count: usize, of: ElementType) -> Option<Data> {
    macro_rules! read {
        ($type:ty) => {{
            const SIZE: usize = size_of::<$type>();
            if count.checked_mul(SIZE) != Some(bytes.len()) {
                return None;
            }
            let (chunks, _) = bytes.as_chunks::<SIZE>();
            chunks
                .iter()
                .map(|chunk| <$type>::from_le_bytes(*chunk))
                .collect()
        }};
    }
    Some(match of {
        ElementType::Float32 => Data::Float32(read!(f32)),
        ElementType::Float64 => Data::Float64(read!(f64)),
        ElementType::Float16 => Data::Float16(read!(f16)),
        ElementType::BFloat16 => Data::BFloat16(read!(bf16)),
        ElementType::Int8 => Data::Int8(read!(i8)),
        ElementType::Int16 => Data::Int16(read!(i16)),
        ElementType::Int32 => Data::Int32(read!(i32)),
        ElementType::Int64 => Data::Int64(read!(i64)),
        ElementType::UInt8 => Data::UInt8(read!(u8)),
        ElementType::UInt16 => Data::UInt16(read!(u16)),
        ElementType::UInt32 => Data::UInt32(read!(u32)),
        ElementType::UInt64 => Data::UInt64(read!(u64)),
        ElementType::Bool => {
            let bytes: Vec<u8> = read!(u8);
            Data::Bool(bytes.into_iter().map(|x| x != 0).collect())
        }
        ElementType::Int4 => {
            let signed = nibbles(bytes, count)?.map(|x| ((x << 4) as i8) >> 4);
            Data::Int4(signed.collect())
        }
        ElementType::UInt4 => Data::UInt4(nibbles(bytes, count)?.collect()),
        ElementType::String => return None,
    })
}

/// The bytes of values, little-endian; `None` for strings and for what is packed.
pub(crate) fn to_raw(data: &Data) -> Option<Vec<u8>> {
    macro_rules! written {
        ($($variant:ident),*) => {
            Some(match data {
                $(Data::$variant(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),)*
                _ => return None,
            })
        };
    }
    written!(
        Float32, Float64, Float16, BFloat16, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
        UInt64
    )
}

/// Two values a byte, the first in the low half.
fn nibbles(bytes: &[u8], count: usize) -> Option<impl Iterator<Item = u8>> {
    (bytes.len() == count.div_ceil(2)).then(|| {
        bytes
            .iter()
            .flat_map(|byte| [byte & 15, byte >> 4])
            .take(count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_are_packed_low_half_first() {
        let found = from_raw(&[0x8f, 0x07], 3, ElementType::Int4);
        assert_eq!(found, Some(Data::Int4(vec![-1, -8, 7])));
        let found = from_raw(&[0x8f], 2, ElementType::UInt4);
        assert_eq!(found, Some(Data::UInt4(vec![15, 8])));
        assert_eq!(from_raw(&[1, 2, 3], 1, ElementType::Float32), None);
    }
}
