//! AVX2 building blocks: loads and stores on arrays, and the way from 32-bit lanes back to bytes.
//!
//! Everything is exact or rounds as the scalar code does, so that kernels built from it equal the
//! reference to the bit.

use core::arch::x86_64::*;

/// Reads 32 bytes at any alignment.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load(from: &[u8; 32]) -> __m256i {
    // SAFETY: the array has 32 readable bytes and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Writes 32 bytes at any alignment.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn store(to: &mut [u8; 32], v: __m256i) {
    // SAFETY: the array has 32 writable bytes and the store asks for no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

/// Reads eight native-endian `f32` at any alignment.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load_f32(from: &[u8; 32]) -> __m256 {
    _mm256_castsi256_ps(load(from))
}

/// Widens 32 bytes to four vectors of eight `i32`, in order.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn widen(v: __m256i) -> [__m256i; 4] {
    let (low, high) = (_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    [
        _mm256_cvtepu8_epi32(low),
        _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(low)),
        _mm256_cvtepu8_epi32(high),
        _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(high)),
    ]
}

/// What stands between an `i32` result and its byte: zero point and bounds, broadcast.
#[derive(Clone, Copy)]
pub(crate) struct Narrow {
    zero_point: __m256i,
    low: __m256i,
    high: __m256i,
    ceiling: __m256,
}

impl Narrow {
    /// `zero_point` in `0..=255`; the bounds are stored values.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn new(zero_point: u8, low: u8, high: u8) -> Self {
        Self {
            zero_point: _mm256_set1_epi16(i16::from(zero_point)),
            low: _mm256_set1_epi8(low as i8),
            high: _mm256_set1_epi8(high as i8),
            ceiling: _mm256_set1_ps(f32::from(255 - zero_point)),
        }
    }

    /// Rounds to nearest even. Values from 2^31 on would turn negative in the conversion, so they
    /// are cut at `255 - zero_point` before; values below -2^31 become `i32::MIN`, which saturates
    /// as it should. NaN becomes `255 - zero_point`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn round(&self, v: __m256) -> __m256i {
        _mm256_cvtps_epi32(_mm256_min_ps(v, self.ceiling))
    }

    /// Adds the zero point to 32 results in order, saturates and clamps: 32 bytes in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn bytes(&self, v: [__m256i; 4]) -> __m256i {
        // the packs work within 128-bit lanes; one permutation undoes it
        _mm256_permutevar8x32_epi32(self.pack(v), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    /// As [`Narrow::bytes`] for results that two levels of `unpack` left within 128-bit lanes: the packs
    /// undo the unpacks.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn pack(&self, v: [__m256i; 4]) -> __m256i {
        let ab = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), self.zero_point);
        let cd = _mm256_adds_epi16(_mm256_packs_epi32(v[2], v[3]), self.zero_point);
        let bytes = _mm256_packus_epi16(ab, cd);
        _mm256_min_epu8(_mm256_max_epu8(bytes, self.low), self.high)
    }

    /// As [`Narrow::bytes`] for eight results: the low eight bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn eight(&self, v: __m256i) -> __m128i {
        let pair = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let pair = _mm_adds_epi16(pair, _mm256_castsi256_si128(self.zero_point));
        let bytes = _mm_packus_epi16(pair, pair);
        let bytes = _mm_max_epu8(bytes, _mm256_castsi256_si128(self.low));
        _mm_min_epu8(bytes, _mm256_castsi256_si128(self.high))
    }
}

/// Reads `W` bytes (8, 16 or 32) into the low end, zeros above.
///
/// # Safety
/// `W` bytes at `from` are readable.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn load_part<const W: usize>(from: *const u8) -> __m256i {
    const { assert!(W == 8 || W == 16 || W == 32) };
    // SAFETY: the caller's; none of these loads asks for an alignment.
    unsafe {
        match W {
            8 => _mm256_zextsi128_si256(_mm_loadl_epi64(from.cast())),
            16 => _mm256_zextsi128_si256(_mm_loadu_si128(from.cast())),
            _ => _mm256_loadu_si256(from.cast()),
        }
    }
}

/// Writes the low `W` bytes (8, 16 or 32).
///
/// # Safety
/// `W` bytes at `to` are writable.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn store_part<const W: usize>(to: *mut u8, v: __m256i) {
    const { assert!(W == 8 || W == 16 || W == 32) };
    // SAFETY: the caller's; none of these stores asks for an alignment.
    unsafe {
        match W {
            8 => _mm_storel_epi64(to.cast(), _mm256_castsi256_si128(v)),
            16 => _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(v)),
            _ => _mm256_storeu_si256(to.cast(), v),
        }
    }
}
