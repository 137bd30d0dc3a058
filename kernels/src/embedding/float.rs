//! Rows of floats.

use core::ops::Range;

use qconfig_core::DType::float32;
use qconfig_core::KernelFamily;
use qconfig_core::kernel::{
    BagMode, BlobError, Call, Kernel, NodeSpec, Refusal, Signature, Sizes, Split, WeightData,
};

use super::rows::Rows;
use super::shape::{Format, Shape};
use super::{Job, check_call};
use crate::blob::{self, HEADER, Tag};
use crate::units;

/// [`NodeOp::Embedding`](qconfig_core::kernel::NodeOp::Embedding) and
/// [`NodeOp::EmbeddingBag`](qconfig_core::kernel::NodeOp::EmbeddingBag) over rows of `float32`. A lookup
/// copies; the rows of a bag are summed in order, each times its weight where there are weights, and a mean
/// divides by their number.
#[derive(Clone, Copy, Debug)]
pub struct F32Embedding;

const TAG: Tag = Tag {
    word: *b"fem1",
    kernel: "f32_embedding",
};

impl KernelFamily for F32Embedding {
    const KERNEL: &'static Kernel = &Kernel {
        name: TAG.kernel,
        signature: Signature {
            weight: &[float32],
            ..Signature::activations(&[float32], &[float32])
        },
        sizes,
        pack,
        split,
        run,
        variant: |_, _| "rows",
    };
}

fn plan<'a>(node: &NodeSpec<'a>) -> Result<(Shape, &'a [f32], usize), Refusal> {
    let shape = Shape::of(node)?;
    let floats = match node.weight.map(|weight| weight.data) {
        Some(WeightData::F32(floats)) if shape.format == Format::Floats => floats,
        _ => return Err(Refusal::Operator("this kernel looks up rows of floats")),
    };
    if shape.rows.checked_mul(shape.columns) != Some(floats.len()) {
        return Err(Refusal::Shape(
            "the table has not as many values as its shape",
        ));
    }
    let blob = shape.table().and_then(|len| len.checked_add(HEADER));
    let blob = blob.ok_or(Refusal::Shape("the node is too large"))?;
    Ok((shape, floats, blob))
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (_, _, blob) = plan(node)?;
    Ok(Sizes { blob, scratch: 0 })
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (shape, floats, len) = plan(node)?;
    units::blob_length(blob, len)?;
    let (header, table) = blob.split_at_mut(HEADER);
    TAG.write(header, &shape.words()?);
    for (cell, value) in table.as_chunks_mut().0.iter_mut().zip(floats) {
        *cell = value.to_le_bytes();
    }
    Ok(())
}

fn read(blob: &[u8]) -> Result<(Shape, Rows<'_>), BlobError> {
    let damaged = BlobError::Header(TAG.kernel);
    let shape = Shape::from_words(&TAG.read(blob)?).ok_or(damaged)?;
    if shape.format != Format::Floats {
        return Err(damaged);
    }
    let table = shape.table().ok_or(damaged)?;
    blob::exact("the table", blob.len() - HEADER, table)?;
    Ok((shape, Rows::new(&shape, &blob[HEADER..])))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    read(blob)?.0.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let (shape, rows) = read(call.blob)?;
    let split = check_call(&shape, call.inputs)?;
    units::part(&split, &call.units, call.output.len())?;
    let job = Job {
        shape: &shape,
        rows,
        inputs: call.inputs,
    };
    job.check(&call.units)?;
    reduce(&job, call.units, call.output);
    Ok(())
}

/// Computes a range of bags that were checked.
fn reduce(job: &Job<'_>, bags: Range<usize>, output: &mut [u8]) {
    let columns = job.shape.columns;
    let output = output.as_chunks_mut::<4>().0;
    for (bag, out) in bags.zip(output.chunks_exact_mut(columns)) {
        let mut count = 0;
        out.fill([0; 4]);
        for at in job.bag(bag) {
            let index = job.index(at) as usize;
            if job.shape.mode.is_some() && job.is_padding(index) {
                continue;
            }
            let row = job
                .rows
                .floats(index)
                .iter()
                .map(|x| f32::from_le_bytes(*x));
            let weight = job.weight(at);
            for (y, x) in out.iter_mut().zip(row) {
                let sum = f32::from_ne_bytes(*y);
                let value = match job.shape.mode {
                    None => x,
                    Some(BagMode::Max) if count == 0 || x > sum => x,
                    Some(BagMode::Max) => sum,
                    Some(_) if job.shape.has_weights => sum + weight * x,
                    Some(_) => sum + x,
                };
                *y = value.to_ne_bytes();
            }
            count += 1;
        }
        for y in out {
            *y = job.finish(f32::from_ne_bytes(*y), count).to_ne_bytes();
        }
    }
}
