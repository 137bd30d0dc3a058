//! `q8_linear`: quantized rows times a quantized weight, requantized.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec, Refusal, Sizes};

use crate::affine::Numerics;
use crate::blob::Tag;
use crate::gemm::{self, Family, Geometry, Packed, Params, Weight};
use crate::q8_conv::SIGNATURE;

/// Of [`Q8Linear`].
const QNNPACK: Family = Family {
    tag: Tag {
        word: *b"QLI1",
        kernel: "q8_linear",
    },
    is_dynamic: false,
    numerics: Numerics::Qnnpack,
};

/// Of [`fbgemm::Q8Linear`](crate::fbgemm::Q8Linear).
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"QLF1",
        kernel: "fbgemm_q8_linear",
    },
    is_dynamic: false,
    numerics: Numerics::Fbgemm,
};

/// Linear layer, `quint8` or `qint8` in and out, `qint8` weight, `float32` bias.
///
/// `out = clamp(rne(f32(sum((a - za) * (w - zw)) + bias_q) * scale) + zo)`, the sum exact, with the
/// scales and biases of torch's QNNPACK engine.
#[derive(Clone, Copy, Debug)]
pub struct Q8Linear;

impl KernelFamily for Q8Linear {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.tag.kernel,
        signature: SIGNATURE,
        sizes: |node| sizes(QNNPACK, node),
        pack: |node, blob| pack(QNNPACK, node, blob),
        split: |blob, inputs| gemm::split_image(QNNPACK, blob, inputs),
        run: |call| gemm::run_image(QNNPACK, call),
        variant: |blob, isa| gemm::variant_of(QNNPACK, blob, isa),
    };
}

/// The shapes of a linear node: `[.., k]` to `[.., outputs]`.
pub(crate) fn geometry(node: &NodeSpec<'_>) -> Result<Geometry, Refusal> {
    if node.op != NodeOp::Linear {
        return Err(Refusal::Operator("this kernel computes linear layers only"));
    }
    let ([input], Some(weight)) = (node.inputs, node.weight) else {
        return Err(Refusal::Shape("a linear layer has one input and a weight"));
    };
    let (Some((k, batch)), Some((outputs, out_batch)), &[rows, columns]) = (
        input.shape.split_last(),
        node.output.shape.split_last(),
        weight.shape,
    ) else {
        return Err(Refusal::Shape("a linear layer's weight has two dimensions"));
    };
    if (*k, *outputs) != (columns, rows) || batch != out_batch {
        return Err(Refusal::Shape(
            "the shapes of input, weight and output do not fit each other",
        ));
    }
    let count = batch.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    count
        .and_then(|count| Geometry::linear(count, *k, *outputs))
        .ok_or(Refusal::Shape(
            "a dimension is zero or the node is too large",
        ))
}

fn checked<'a>(node: &NodeSpec<'a>) -> Result<(Geometry, Weight<'a>, Params), Refusal> {
    let geometry = geometry(node)?;
    Ok((geometry, Weight::new(node, &geometry)?, Params::of(node)?))
}

/// As [`Kernel::sizes`].
pub(crate) fn sizes(family: Family, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (geometry, weight, _) = checked(node)?;
    Ok(gemm::sizes(
        Packed::bytes(family, &geometry, &weight)?,
        &geometry,
    ))
}

/// As [`Kernel::pack`].
pub(crate) fn pack(family: Family, node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (geometry, weight, params) = checked(node)?;
    Packed::write(family, &geometry, &weight, &params, blob)
}
