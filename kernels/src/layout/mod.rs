//! Between channels last and channels first: `[N, .., C]` and `[N, C, ..]`.
//!
//! Either way the image of one batch entry is a matrix that is transposed.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, word};

/// `[N, .., C]` to `[N, C, ..]`, elements of one or four bytes.
#[derive(Clone, Copy, Debug)]
pub struct ToChannelsFirst;

/// `[N, C, ..]` to `[N, .., C]`, elements of one or four bytes.
#[derive(Clone, Copy, Debug)]
pub struct ToChannelsLast;

const NAME: &str = "layout";
const TAG: Tag = Tag {
    word: *b"lay1",
    kernel: NAME,
};

const fn kernel(
    name: &'static str,
    sizes: fn(&NodeSpec<'_>) -> Result<Sizes, Refusal>,
    pack: Pack,
) -> Kernel {
    const DTYPES: &[DType] = &[DType::quint8, DType::qint8, DType::float32];
    let signature = Signature::activations(DTYPES, DTYPES);
    Kernel {
        name,
        signature,
        sizes,
        pack,
        split,
        run,
        variant,
    }
}

type Pack = fn(&NodeSpec<'_>, &mut [u8]) -> Result<(), Refusal>;

impl KernelFamily for ToChannelsFirst {
    const KERNEL: &'static Kernel = &kernel(
        "to_channels_first",
        |spec| sizes(spec, NodeOp::ToChannelsFirst),
        |spec, blob| pack(spec, NodeOp::ToChannelsFirst, blob),
    );
}

impl KernelFamily for ToChannelsLast {
    const KERNEL: &'static Kernel = &kernel(
        "to_channels_last",
        |spec| sizes(spec, NodeOp::ToChannelsLast),
        |spec, blob| pack(spec, NodeOp::ToChannelsLast, blob),
    );
}

/// `batch` matrices of `rows x columns` outputs, each the transpose of its input. Words in this order.
#[derive(Clone, Copy, Debug)]
struct Transpose {
    batch: usize,
    rows: usize,
    columns: usize,
    /// Bytes of an element: 1 or 4.
    element: usize,
}

fn plan(spec: &NodeSpec<'_>, op: NodeOp) -> Result<[u32; 4], Refusal> {
    if spec.op != op || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel changes the layout and nothing else",
        ));
    }
    let [input] = units::arity(spec)?;
    let (from, to) = (input, &spec.output);
    if from.dtype != to.dtype || from.qparams != to.qparams {
        return Err(Refusal::Operator(
            "a layout change keeps dtype and quantization parameters",
        ));
    }
    let element: u32 = match from.dtype {
        DType::quint8 | DType::qint8 => 1,
        DType::float32 => 4,
        dtype => {
            return Err(Refusal::DType {
                place: "input",
                dtype,
            });
        }
    };
    let unfit = Refusal::Shape("a layout change is between [N, .., C] and [N, C, ..]");
    let (last, first) = if op == NodeOp::ToChannelsFirst {
        (from, to)
    } else {
        (to, from)
    };
    let ([n, spatial @ .., c], [first_n, first_c, first_spatial @ ..]) = (last.shape, first.shape)
    else {
        return Err(unfit);
    };
    if n != first_n || c != first_c || spatial != first_spatial {
        return Err(unfit);
    }
    let positions = spatial
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size));
    let (Some(_), Some(positions)) = (from.bytes(), positions) else {
        return Err(Refusal::Shape("too many elements"));
    };
    let [n, c, positions] = [word(*n)?, word(*c)?, word(positions)?];
    Ok(if op == NodeOp::ToChannelsFirst {
        [n, c, positions, element]
    } else {
        [n, positions, c, element]
    })
}

fn sizes(spec: &NodeSpec<'_>, op: NodeOp) -> Result<Sizes, Refusal> {
    plan(spec, op)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, op: NodeOp, blob: &mut [u8]) -> Result<(), Refusal> {
    let mut words = [0; 15];
    words[..4].copy_from_slice(&plan(spec, op)?);
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

impl Transpose {
    fn read(blob: &[u8], inputs: &[usize]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER)?;
        let [batch, rows, columns, element, ..] = TAG.read(blob)?.map(|word| word as usize);
        let image = rows
            .checked_mul(columns)
            .and_then(|len| len.checked_mul(element));
        let len = image
            .and_then(|len| len.checked_mul(batch))
            .filter(|_| matches!(element, 1 | 4));
        let len = len
            .filter(|_| batch.checked_mul(rows).is_some())
            .ok_or(BlobError::Header(NAME))?;
        let [input] = units::lengths(inputs)?;
        exact("the input", input, len)?;
        Ok(Self {
            batch,
            rows,
            columns,
            element,
        })
    }

    /// Bytes of a row of the output.
    fn row(&self) -> usize {
        self.columns.saturating_mul(self.element)
    }

    /// A unit is a row of the output.
    fn split(&self) -> Split {
        let units = if self.columns == 0 {
            0
        } else {
            self.batch * self.rows
        };
        Split {
            units,
            unit_bytes: self.row(),
            output_bytes: units.saturating_mul(self.row()),
            grain: (1usize << 16).div_ceil(self.row().max(1)),
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(Transpose::read(blob, inputs)?.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let transpose = Transpose::read(call.blob, &[input.len()])?;
    units::part(&transpose.split(), &call.units, call.output.len())?;
    let Transpose { rows, .. } = transpose;
    let (mut unit, mut output) = (call.units.start, call.output);
    while !output.is_empty() && rows > 0 {
        let (image, first) = (unit / rows, unit % rows);
        let count = (rows - first).min(call.units.end - unit);
        let (here, rest) = output.split_at_mut((count * transpose.row()).min(output.len()));
        let image_len = rows * transpose.row();
        let image = units::slice(input, image * image_len..(image + 1) * image_len)?;
        match transpose.element {
            1 => run_rows::<1>(image, rows, first, here, call.isa),
            _ => run_rows::<4>(image, rows, first, here, call.isa),
        }
        unit += count;
        output = rest;
    }
    Ok(())
}

/// Writes output rows from `first` on, as many as fit: `output[r][c] = input[c][first + r]`, where
/// input rows have `rows` elements of `E` bytes.
fn run_rows<const E: usize>(input: &[u8], rows: usize, first: usize, output: &mut [u8], isa: Isa) {
    let (input, output) = (input.as_chunks::<E>().0, output.as_chunks_mut::<E>().0);
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::transpose(input, rows, first, output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::transpose(input, rows, first, output) },
        _ => reference::transpose(input, rows, first, output),
    }
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "tiles__avx2",
        level if level.has_neon() => "tiles__neon",
        _ => "tiles__scalar",
    }
}
