//! Bytes on 64-byte boundaries, without `unsafe`.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// The boundary that blobs and tensors start on: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// The next multiple of [`ALIGN`], or `None` where that overflows.
pub(crate) fn align_up(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(ALIGN)
}

/// Whether a slice starts on a multiple of [`ALIGN`].
pub(crate) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(ALIGN)
}

/// Puts what it holds on a 64-byte boundary; [`include_plan!`](crate::include_plan) is made of it.
///
/// ```
/// static BYTES: &qconfig_runtime::Aligned<[u8]> = &qconfig_runtime::Aligned(*b"any bytes");
/// assert_eq!(BYTES.0.as_ptr().addr() % 64, 0);
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// The bytes of a saved plan, compiled in, as an aligned `&'static [u8]`: a plan made of them uses
/// the weights where they are. Takes what `include_bytes!` takes.
///
/// ```
/// static BYTES: &[u8] = qconfig_runtime::include_plan!("lib.rs");
/// assert_eq!(BYTES.as_ptr().addr() % 64, 0);
/// ```
#[macro_export]
macro_rules! include_plan {
    ($path:expr $(,)?) => {{
        const BYTES: &$crate::Aligned<[u8]> = &$crate::Aligned(*::core::include_bytes!($path));
        &BYTES.0
    }};
}

/// A buffer on the heap that starts on a 64-byte boundary.
pub struct AlignedBytes {
    /// Up to 63 bytes more than asked for, so that one of the first 64 is on a boundary.
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    /// That many zeros.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    pub fn zeroed(len: usize) -> Result<Self, TryReserveError> {
        let mut memory = Vec::new();
        // an overflow saturates, and more than isize::MAX bytes are refused by the reservation
        let padded = len.saturating_add(ALIGN - 1);
        memory.try_reserve_exact(padded)?;
        memory.resize(padded, 0);
        let start = memory.as_ptr().addr().wrapping_neg() % ALIGN;
        Ok(Self { memory, start, len })
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, TryReserveError> {
        let mut copy = Self::zeroed(bytes.len())?;
        copy.copy_from_slice(bytes);
        Ok(copy)
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBytes")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_boundary_whatever_the_length() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let bytes = AlignedBytes::zeroed(len).expect("small");
            assert!(is_aligned(&bytes));
            assert_eq!(bytes.len(), len);
        }
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(AlignedBytes::zeroed(usize::MAX).is_err());
        assert!(AlignedBytes::zeroed(isize::MAX as usize).is_err());
    }
}
