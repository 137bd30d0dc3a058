//! The bytes that a kernel packs: a 64-byte header of little-endian words, then the sections.
//!
//! Word 0 is a tag (which kernel, which version of its layout), the other fifteen are the kernel's.
//! Every section starts on a multiple of 64 bytes. The same bytes serve every instruction set.

use qconfig_core::kernel::BlobError;

/// Alignment of sections, of blobs and of tensors.
pub(crate) const ALIGN: usize = 64;
/// Bytes of the header.
pub(crate) const HEADER: usize = 64;

/// Rounds up to the next section boundary.
pub(crate) const fn align(len: usize) -> usize {
    len.div_ceil(ALIGN) * ALIGN
}

/// Which kernel a blob belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    /// Four bytes, unique among the kernels; the last one counts versions of the layout.
    pub(crate) word: [u8; 4],
    /// The kernel's name, for messages.
    pub(crate) kernel: &'static str,
}

/// The words of a header behind the tag.
pub(crate) type Words = [u32; 15];

impl Tag {
    /// Writes tag and words.
    pub(crate) fn write(self, blob: &mut [u8], words: &Words) {
        let mut cells = blob.chunks_exact_mut(4);
        if let Some(cell) = cells.next() {
            cell.copy_from_slice(&self.word);
        }
        for (cell, word) in cells.zip(words) {
            cell.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads the words back, if the tag is this one.
    pub(crate) fn read(self, blob: &[u8]) -> Result<Words, BlobError> {
        let header = blob.get(..HEADER).ok_or(BlobError::Header(self.kernel))?;
        let mut cells = header
            .chunks_exact(4)
            .map(|cell| [cell[0], cell[1], cell[2], cell[3]]);
        if cells.next() != Some(self.word) {
            return Err(BlobError::Header(self.kernel));
        }
        let mut words = [0; 15];
        for (word, cell) in words.iter_mut().zip(cells) {
            *word = u32::from_le_bytes(cell);
        }
        Ok(words)
    }
}

/// Checks a length that must be exact.
pub(crate) fn exact(what: &'static str, found: usize, expected: usize) -> Result<(), BlobError> {
    if found == expected {
        Ok(())
    } else {
        Err(BlobError::Length {
            what,
            expected,
            found,
        })
    }
}

/// Checks a length that must be reached.
pub(crate) fn at_least(what: &'static str, found: usize, expected: usize) -> Result<(), BlobError> {
    if found >= expected {
        Ok(())
    } else {
        Err(BlobError::Length {
            what,
            expected,
            found,
        })
    }
}
