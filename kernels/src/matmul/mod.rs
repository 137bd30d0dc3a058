//! `a @ b` of quantized tensors, both of which come with a call.
//!
//! `clamp(rne(f32(sum((a - za) * (b - zb))) * multiplier) + zo)`, the sum exact, and the multiplier
//! `(sa * sb) * (1 / so)` step by step in f32. torch dequantizes both operands, multiplies floats and
//! quantizes: the same bytes, but where its float sum is rounded across a tie.
//!
//! Columns of the right operand are packed as the weights of a linear layer are, as many at a time as a
//! cache holds, and multiplied by the same code.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod reference;

use core::ops::Range;

use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    TensorSpec,
};
use qconfig_core::{DType, Isa};

use crate::affine::stored;
use crate::blob::{HEADER, Tag, align, exact};
use crate::broadcast::{Broadcast, SECTION};
use crate::gemm::{self, Cut, Finish, Geometry, Image, PANEL, Panels, Strip};
use crate::output::Output;
use crate::units::{self, word};

/// Multiplies matrices of the same quantized dtype, in the last two axes of both operands; what is before
/// these broadcasts. See the module for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Q8MatMul;

const NAME: &str = "q8_matmul";
const TAG: Tag = Tag {
    word: *b"mmu1",
    kernel: NAME,
};
/// Header, then how the matrices broadcast.
const BLOB: usize = HEADER + SECTION;
/// The longest reduction whose sums cannot overflow an `i32`: `K * 255 * 255 < 2^31`.
const MAX_K: usize = 33_025;
/// Bytes that packed columns may take, if they are more than one panel.
const BUDGET: usize = 128 * 1024;
/// Rows that a thread should have, so that packing the columns pays.
const ROWS: usize = 8;

impl KernelFamily for Q8MatMul {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes,
        pack,
        split,
        run,
        variant: |_, isa| gemm::variant(isa),
    };
}

/// The shapes of one product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Whether the right matrix lies as `[n, k]`.
    pub(crate) transposed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    /// How the matrices, each as one element, broadcast.
    batch: Broadcast,
    product: Product,
    /// Rows by columns are those of one product.
    geometry: Geometry,
    /// Positive, normal.
    multiplier: f32,
    zero_points: [u8; 2],
    /// Its bounds do not cross.
    output: Output,
}

/// A right matrix.
#[derive(Clone, Copy, Debug)]
struct Right<'a> {
    bytes: &'a [u8],
    product: Product,
}

/// Batch axes, rows and columns of an operand: one with one axis is a row on the left, a column on the
/// right.
pub(crate) fn matrix<'a>(
    tensor: &TensorSpec<'a>,
    is_left: bool,
) -> Result<(TensorSpec<'a>, [usize; 2]), Refusal> {
    let (batch, sizes) = match tensor.shape {
        [k] if is_left => (&[][..], [1, *k]),
        [k] => (&[][..], [*k, 1]),
        [batch @ .., rows, columns] => (batch, [*rows, *columns]),
        [] => {
            return Err(Refusal::Shape(
                "an operand of a product has at least one axis",
            ));
        }
    };
    let batch = TensorSpec {
        shape: batch,
        ..*tensor
    };
    Ok((batch, sizes))
}

/// Rows and columns that the output has are taken off its shape: what is left are the batch axes.
pub(crate) fn output_batch<'a>(
    output: &TensorSpec<'a>,
    [a, b]: &[TensorSpec<'_>; 2],
    product: &Product,
) -> Option<TensorSpec<'a>> {
    let mut shape = output.shape;
    for (operand, size) in [(b, product.n), (a, product.m)] {
        if operand.shape.len() > 1 {
            shape = shape.split_last().filter(|(last, _)| **last == size)?.1;
        }
    }
    // a number has the shape [1]
    let is_number = a.shape.len() == 1 && b.shape.len() == 1 && shape == [1];
    Some(TensorSpec {
        shape: if is_number { &[] } else { shape },
        ..*output
    })
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::MatMul { transposed } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel multiplies two matrices and does nothing else",
        ));
    };
    let inputs @ [a, b] = units::arity(spec)?;
    for input in inputs {
        if input.dtype != spec.output.dtype {
            return Err(Refusal::DType {
                place: "input",
                dtype: input.dtype,
            });
        }
    }
    let (left, right) = (stored("input", a)?, stored("input", b)?);
    let to = stored("output", &spec.output)?;

    let (batch_a, [m, k]) = matrix(a, true)?;
    let (batch_b, sizes) = matrix(b, false)?;
    let [depth, n] = match sizes {
        [n, depth] if transposed && b.shape.len() > 1 => [depth, n],
        sizes => sizes,
    };
    let unfit = Refusal::Shape("the shapes of both operands and the output do not fit each other");
    if depth != k {
        return Err(unfit);
    }
    if k > MAX_K {
        return Err(Refusal::Accumulator { k, max: MAX_K });
    }
    let product = Product {
        m,
        k,
        n,
        // one column lies the same either way
        transposed: transposed || n == 1,
    };
    let multiplier = (left.scale * right.scale) * (1.0 / to.scale);
    if !(multiplier.is_normal() && multiplier > 0.0) {
        return Err(Refusal::Scale {
            what: "requantization scale",
            value: multiplier,
            low: f32::MIN_POSITIVE,
            high: f32::INFINITY,
        });
    }
    let output = Output::new(spec.activation, to);
    let batch = output_batch(&spec.output, inputs, &product).ok_or(unfit)?;
    let header = Header::new(Broadcast::new(&[batch_a, batch_b], &batch)?, product).ok_or(
        Refusal::Shape("a dimension is zero or the node is too large"),
    )?;
    Ok(Header {
        multiplier,
        zero_points: [left.zero_point as u8, right.zero_point as u8],
        output,
        ..header
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let header = plan(spec)?;
    Ok(Sizes {
        blob: BLOB,
        scratch: header.strip_bytes() + gemm::scratch(header.product.k, header.product.m),
    })
}

/// Words: rows, reduction length and columns of a product, whether the right operand lies transposed,
/// multiplier, zero points of both operands and of the output, bounds.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, BLOB)?;
    let Product {
        m,
        k,
        n,
        transposed,
    } = header.product;
    let [a, b] = header.zero_points.map(u32::from);
    let Output {
        zero_point,
        low,
        high,
    } = header.output;
    let mut words = [0; 15];
    words[..10].copy_from_slice(&[
        word(m)?,
        word(k)?,
        word(n)?,
        transposed.into(),
        header.multiplier.to_bits(),
        a,
        b,
        zero_point.into(),
        low.into(),
        high.into(),
    ]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    header.batch.write(section)
}

impl Header {
    /// With shapes only; `None` where a size is zero or all together are too large.
    fn new(batch: Broadcast, product: Product) -> Option<Self> {
        let Product { m, k, n, .. } = product;
        if k > MAX_K || batch.elements() == 0 {
            return None;
        }
        // the largest of the three counts what the others count
        let most = (m.checked_mul(k)?)
            .max(k.checked_mul(n)?)
            .max(m.checked_mul(n)?);
        isize::try_from(batch.elements().checked_mul(most)?.checked_mul(4)?).ok()?;
        let header = Self {
            batch,
            product,
            geometry: Geometry::linear(m, k, n)?,
            multiplier: 1.0,
            zero_points: [0; 2],
            output: Output {
                zero_point: 0,
                low: 0,
                high: 255,
            },
        };
        Strip::bytes(&header.panels(header.strip()))?;
        // a matrix without rows has no product
        (m > 0).then_some(header)
    }

    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), BLOB)?;
        let [m, k, n, transposed, multiplier, bytes @ ..] = TAG.read(blob)?;
        let decode = || {
            let mut stored = [0; 5];
            for (to, word) in stored.iter_mut().zip(bytes) {
                *to = u8::try_from(word).ok()?;
            }
            let [a, b, zero_point, low, high] = stored;
            let product = Product {
                m: m as usize,
                k: k as usize,
                n: n as usize,
                transposed: transposed != 0,
            };
            let multiplier = f32::from_bits(multiplier);
            Some(Self {
                multiplier: Some(multiplier).filter(|m| m.is_normal() && *m > 0.0)?,
                zero_points: [a, b],
                output: Some(Output {
                    zero_point,
                    low,
                    high,
                })
                .filter(|output| output.low <= output.high)?,
                ..Self::new(Broadcast::read(blob.get(HEADER..)?)?, product)?
            })
        };
        decode().ok_or(BlobError::Header(NAME))
    }

    /// Elements of one matrix of each operand.
    fn matrices(&self) -> [usize; 2] {
        let Product { m, k, n, .. } = self.product;
        [m * k, k * n]
    }

    /// Columns that are packed together: whole panels.
    fn strip(&self) -> usize {
        let panels = BUDGET / (PANEL * self.product.k).max(1);
        (panels.max(1) * PANEL).min(self.product.n)
    }

    fn panels(&self, columns: usize) -> Panels {
        Panels {
            columns,
            k: self.product.k,
        }
    }

    fn strip_bytes(&self) -> usize {
        align(Strip::bytes(&self.panels(self.strip())).unwrap_or(usize::MAX / 2))
    }

    /// The cut of all rows of all products.
    fn cut(&self) -> Cut {
        let Product { m, k, n, .. } = self.product;
        let rows = self.batch.elements() * m;
        let cut = Cut::new(rows, n, k, 1, true);
        if rows == 1 {
            cut
        } else {
            cut.at_least(ROWS.min(m) * n)
        }
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [a, b] = units::lengths(inputs)?;
        let ([left, right], [first, second]) = (self.matrices(), self.batch.operands());
        exact("the first input", a, first * left)?;
        exact("the second input", b, second * right)?;
        Ok(self.cut().split())
    }

    /// Packs columns of a right matrix, with what they end with.
    fn fill(&self, right: &Right<'_>, first: usize, panels: &Panels, to: &mut Strip<'_>, isa: Isa) {
        let (weights, sums) = (&mut *to.weights, to.init.as_chunks_mut().0);
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe {
                avx2::pack(right, first, panels, weights, sums);
            },
            _ => reference::pack(right, first, panels, weights, sums),
        }
        // sum((a - za) (b - zb)) = sum(a w) - za sum(w - zw) - zw sum(a), with w = b - 128
        let [za, zb] = self.zero_points.map(i64::from);
        let zw = zb - 128;
        for sum in sums {
            let of_weights = i64::from(i32::from_le_bytes(*sum));
            let init = -za * (of_weights - self.product.k as i64 * zw);
            // sums are right modulo 2^32
            *sum = (init as i32).to_le_bytes();
        }
        to.scale
            .as_chunks_mut()
            .0
            .fill(self.multiplier.to_le_bytes());
        let zero_points = to.zero_points.as_chunks_mut().0;
        zero_points.fill((zw as i32).to_le_bytes());
    }

    /// Rows of one product.
    fn multiply(
        &self,
        [left, right]: [&[u8]; 2],
        rows: &Range<usize>,
        columns: &Range<usize>,
        output: &mut [u8],
        scratch: &mut [u8],
        isa: Isa,
    ) -> Result<(), BlobError> {
        let (memory, scratch) = scratch.split_at_mut(self.strip_bytes());
        let matrix = Image::new(self.geometry, left, self.zero_points[0]);
        let right = Right {
            bytes: right,
            product: self.product,
        };
        let finish = Finish::Requantize {
            zero_point: self.output.zero_point,
            low: self.output.low,
            high: self.output.high,
        };
        for first in columns.clone().step_by(self.strip()) {
            let panels = self.panels((columns.end - first).min(self.strip()));
            let mut strip = Strip::new(&panels, self.zero_points[1] != 128, memory)?;
            self.fill(&right, first, &panels, &mut strip, isa);
            let packed = strip.packed(self.geometry, panels, finish);
            let from = (first - columns.start).min(output.len());
            gemm::run_columns(
                &packed,
                &matrix,
                rows.clone(),
                &mut output[from..],
                scratch,
                isa,
            )?;
        }
        Ok(())
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Header::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = Header::read(call.blob)?;
    let inputs = [units::input(call.inputs, 0)?, units::input(call.inputs, 1)?];
    header.split(&inputs.map(<[u8]>::len))?;
    let part = header.cut().part(&call.units, call.output.len())?;
    let Product { m, k, n, .. } = header.product;
    let needed = header.strip_bytes() + gemm::scratch(k, m);
    crate::blob::at_least("scratch", call.scratch.len(), needed)?;
    let column = |panel: usize| panel.saturating_mul(PANEL).min(n);
    let columns = column(part.panels.start)..column(part.panels.end);
    let mut row = part.rows.start;
    while row < part.rows.end {
        let batch = row / m;
        let rows = row % m..(part.rows.end - batch * m).min(m);
        let [at_a, at_b] = header.batch.elements_at(batch);
        let ([left, right], [a, b]) = (header.matrices(), inputs);
        let matrices = [
            units::slice(a, at_a * left..(at_a + 1) * left)?,
            units::slice(b, at_b * right..(at_b + 1) * right)?,
        ];
        let from = ((row - part.rows.start) * n).min(call.output.len());
        let output = &mut call.output[from..];
        header.multiply(matrices, &rows, &columns, output, call.scratch, call.isa)?;
        row += rows.len();
    }
    Ok(())
}
