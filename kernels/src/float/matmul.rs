//! Products of two matrices, both of which come with a call.

use qconfig_core::DType;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};

use super::product::{self, Product, SLICE, packed_len, padded};
use crate::blob::{HEADER, Tag, at_least, exact};
use crate::broadcast::{Broadcast, SECTION};
use crate::gemm::Cut;
use crate::matmul::{Product as Shape, matrix, output_batch};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units::{self, word};

/// `a @ b` of `float32` tensors ([`NodeOp::MatMul`]), an activation behind: each output is one chain of fused
/// multiply-adds in the order of `k`.
///
/// Columns of the right operand are packed as the weight of a linear layer is, as many at a time as a cache
/// holds.
#[derive(Clone, Copy, Debug)]
pub struct F32MatMul;

const NAME: &str = "f32_matmul";
const TAG: Tag = Tag {
    word: *b"fmm1",
    kernel: NAME,
};
/// Bytes that packed columns may take, if they are more than one slice.
const BUDGET: usize = 256 * 1024;
/// Rows that a thread should have, so that packing the columns pays.
const ROWS: usize = 16;

impl KernelFamily for F32MatMul {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant: |_, isa| product::variant(isa),
    };
}

/// Words: rows, reduction length and columns of a product, whether the right operand lies transposed, bounds.
/// Section: how the matrices, each as one element, broadcast.
struct Header {
    batch: Broadcast,
    shape: Shape,
    low: f32,
    high: f32,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::MatMul { transposed } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel multiplies two matrices and does nothing else",
        ));
    };
    floats(spec)?;
    let inputs @ [a, b] = units::arity(spec)?;
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
    let shape = Shape {
        m,
        k,
        n,
        // one column lies the same either way
        transposed: transposed || n == 1,
    };
    let batch = output_batch(&spec.output, inputs, &shape).ok_or(unfit)?;
    let (low, high) = float_bounds(spec.activation);
    let header = Header {
        batch: Broadcast::new(&[batch_a, batch_b], &batch)?,
        shape,
        low,
        high,
    };
    header.checked().ok_or(Refusal::Shape(
        "a dimension is zero or the node is too large",
    ))
}

impl Header {
    /// `None` where a size is zero or all together are too large.
    fn checked(self) -> Option<Self> {
        let Shape { m, k, n, .. } = self.shape;
        // the largest of the three counts what the others count
        let most = (m.checked_mul(k)?)
            .max(k.checked_mul(n)?.checked_add(k.checked_mul(SLICE)?)?)
            .max(m.checked_mul(n)?);
        let all = self.batch.elements().checked_mul(most)?.checked_mul(8)?;
        isize::try_from(all).ok()?;
        (m > 0 && k > 0 && n > 0 && self.batch.elements() > 0).then_some(self)
    }

    fn read(blob: &[u8], inputs: &[usize]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER + SECTION)?;
        let damaged = BlobError::Header(NAME);
        let [m, k, n, transposed, low, high, ..] = TAG.read(blob)?;
        let header = Self {
            batch: Broadcast::read(&blob[HEADER..]).ok_or(damaged)?,
            shape: Shape {
                m: m as usize,
                k: k as usize,
                n: n as usize,
                transposed: transposed != 0,
            },
            low: f32::from_bits(low),
            high: f32::from_bits(high),
        };
        let header = header.checked().ok_or(damaged)?;
        let [a, b] = units::lengths(inputs)?;
        let ([left, right], [first, second]) = (header.matrices(), header.batch.operands());
        exact("the first input", a, first * left)?;
        exact("the second input", b, second * right)?;
        Ok(header)
    }

    /// Bytes of one matrix of each operand.
    fn matrices(&self) -> [usize; 2] {
        let Shape { m, k, n, .. } = self.shape;
        [m * k * 4, k * n * 4]
    }

    /// Columns that are packed together: whole slices.
    fn strip(&self) -> usize {
        let slices = BUDGET / (SLICE * 4 * self.shape.k);
        (slices.max(1) * SLICE).min(padded(self.shape.n))
    }

    /// Bytes of packed columns.
    fn strip_bytes(&self) -> usize {
        packed_len(self.shape.k, self.strip()).unwrap_or(usize::MAX / 2)
    }

    /// Packed columns, and a bias of zeros.
    fn scratch(&self) -> usize {
        self.strip_bytes() + self.strip() * 4
    }

    /// The cut of all rows of all products.
    fn cut(&self) -> Cut {
        let Shape { m, k, n, .. } = self.shape;
        let rows = self.batch.elements() * m;
        Cut::new(rows, n, k, 4, false).at_least(ROWS.min(m) * n)
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: HEADER + SECTION,
        scratch: plan(spec)?.scratch(),
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, HEADER + SECTION)?;
    let Shape {
        m,
        k,
        n,
        transposed,
    } = header.shape;
    let mut words = [0; 15];
    words[..6].copy_from_slice(&[
        word(m)?,
        word(k)?,
        word(n)?,
        transposed.into(),
        header.low.to_bits(),
        header.high.to_bits(),
    ]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    header.batch.write(section)
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(Header::read(blob, inputs)?.cut().split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    exact("the list of inputs", call.inputs.len(), 2)?;
    let inputs = [units::input(call.inputs, 0)?, units::input(call.inputs, 1)?];
    let header = Header::read(call.blob, &inputs.map(<[u8]>::len))?;
    let part = header.cut().part(&call.units, call.output.len())?;
    at_least("scratch", call.scratch.len(), header.scratch())?;
    let Shape {
        m,
        k,
        n,
        transposed,
    } = header.shape;
    let (packed, rest) = call.scratch.split_at_mut(header.strip_bytes());
    let bias = &mut rest[..header.strip() * 4];
    bias.fill(0);
    let mut row = part.rows.start;
    while row < part.rows.end {
        let batch = row / m;
        let rows = row % m..(part.rows.end - batch * m).min(m);
        let [at_a, at_b] = header.batch.elements_at(batch);
        let ([left, right], [a, b]) = (header.matrices(), inputs);
        let a = units::slice(a, at_a * left..(at_a + 1) * left)?;
        let b = units::slice(b, at_b * right..(at_b + 1) * right)?
            .as_chunks::<4>()
            .0;
        let from = (row - part.rows.start) * n * 4;
        for first in (0..n).step_by(header.strip()) {
            let columns = (n - first).min(header.strip());
            let len = packed_len(k, columns).unwrap_or(0);
            let to = &mut packed[..len];
            if transposed {
                let columns_of = |column: usize, step: usize| b[(first + column) * k + step];
                product::pack_cells(k, columns, to, columns_of);
            } else {
                product::pack_rows(k, columns, to, |step| &b[step * n + first..][..columns]);
            }
            let product = Product {
                x: &a[rows.start * k * 4..],
                row_bytes: k * 4,
                rows: rows.len(),
                k,
                weight: to,
                bias,
                columns,
                low: header.low,
                high: header.high,
            };
            let output = call.output.get_mut(from + first * 4..).unwrap_or_default();
            product.run(output, n * 4, call.isa)?;
        }
        row += rows.len();
    }
    Ok(())
}
