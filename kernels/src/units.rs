//! How element-wise work is cut, and the checks that every call goes through.

use core::ops::Range;

use qconfig_core::kernel::{BlobError, NodeSpec, Refusal, Split, TensorSpec};

/// Elements of one unit of element-wise work: a few cache lines more than the loop overhead needs.
pub(crate) const UNIT: usize = 4096;

/// Cuts `elements` of `element_bytes` output bytes each into units of [`UNIT`] elements.
///
/// `grain` counts elements: fewer are done before another thread has woken up.
pub(crate) fn split(elements: usize, element_bytes: usize, grain: usize) -> Split {
    Split {
        units: elements.div_ceil(UNIT),
        unit_bytes: UNIT * element_bytes,
        output_bytes: elements.saturating_mul(element_bytes),
        grain: grain.div_ceil(UNIT),
    }
}

/// The output bytes of a call, once its units lie in the split and its output has their length.
pub(crate) fn part(
    split: &Split,
    units: &Range<usize>,
    output: usize,
) -> Result<Range<usize>, BlobError> {
    if units.start > units.end || units.end > split.units {
        return Err(BlobError::Length {
            what: "the range of units",
            expected: split.units,
            found: units.end,
        });
    }
    let bytes = split.bytes(units);
    crate::blob::exact("the output", output, bytes.len())?;
    Ok(bytes)
}

/// A sub-slice that the checks before made sure of; an error where they did not.
pub(crate) fn slice(bytes: &[u8], range: Range<usize>) -> Result<&[u8], BlobError> {
    let found = bytes.len();
    let expected = range.end;
    bytes.get(range).ok_or(BlobError::Length {
        what: "the input",
        expected,
        found,
    })
}

/// The input at `index`; an error where the call has fewer.
pub(crate) fn input<'a>(inputs: &[&'a [u8]], index: usize) -> Result<&'a [u8], BlobError> {
    inputs.get(index).copied().ok_or(BlobError::Length {
        what: "the list of inputs",
        expected: index + 1,
        found: inputs.len(),
    })
}

/// The lengths of exactly `N` inputs.
pub(crate) fn lengths<const N: usize>(inputs: &[usize]) -> Result<[usize; N], BlobError> {
    inputs.try_into().map_err(|_| BlobError::Length {
        what: "the list of inputs",
        expected: N,
        found: inputs.len(),
    })
}

/// Exactly `N` inputs of a node.
pub(crate) fn arity<'a, const N: usize>(
    spec: &NodeSpec<'a>,
) -> Result<&'a [TensorSpec<'a>; N], Refusal> {
    spec.inputs
        .try_into()
        .map_err(|_| Refusal::Shape("another number of inputs than the operator has"))
}

/// The elements of two tensors of the same shape, as a header word.
pub(crate) fn same_shape(a: &TensorSpec<'_>, b: &TensorSpec<'_>) -> Result<u32, Refusal> {
    if a.shape != b.shape {
        return Err(Refusal::Shape("input and output have different shapes"));
    }
    // four bytes an element must be countable too
    match a.elements() {
        Some(elements) if elements.checked_mul(4).is_some() => word(elements),
        _ => Err(Refusal::Shape("too many elements")),
    }
}

/// A dimension as a header word.
pub(crate) fn word(value: usize) -> Result<u32, Refusal> {
    u32::try_from(value)
        .map_err(|_| Refusal::Shape("a dimension or element count is beyond 32 bits"))
}

/// Holds `pack` to the length that `sizes` asked for.
pub(crate) fn blob_length(blob: &[u8], expected: usize) -> Result<(), Refusal> {
    if blob.len() == expected {
        Ok(())
    } else {
        Err(Refusal::Shape(
            "the blob has another length than `sizes` gave",
        ))
    }
}
