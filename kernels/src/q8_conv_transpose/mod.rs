//! `q8_conv_transpose`: transposed convolution of quantized lines, images and volumes.

use qconfig_core::DType::{float32, qint8, quint8};
use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec, Refusal, Signature, Sizes};

use crate::blob::Tag;
use crate::gemm::Family;
use crate::volume::{Convolution, Direction, Geometry};

const NAME: &str = "q8_conv_transpose";
const TRANSPOSED: Convolution = Convolution {
    tag: Tag {
        word: *b"qct1",
        kernel: NAME,
    },
    product: Family {
        tag: Tag {
            word: *b"QCT1",
            kernel: NAME,
        },
        is_dynamic: false,
    },
    direction: Direction::Transposed,
};

/// Transposed convolution, `quint8` or `qint8` in and out, `qint8` weight (one scale, or one for each
/// output channel), `float32` bias; one to three dimensions, any stride, padding, output padding,
/// dilation and number of groups.
///
/// Numerics as [`Q8Linear`](crate::Q8Linear): the sum is over the inputs that reach an output, as
/// torch's QNNPACK engine has it.
#[derive(Clone, Copy, Debug)]
pub struct Q8ConvTranspose;

impl KernelFamily for Q8ConvTranspose {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature {
            input: &[quint8, qint8],
            output: &[quint8, qint8],
            weight: &[qint8],
            bias: &[float32],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        },
        sizes,
        pack,
        split: |blob, inputs| TRANSPOSED.split(blob, inputs),
        run: |call| TRANSPOSED.run(call),
        variant: |_, isa| Convolution::variant(isa),
    };
}

fn geometry(node: &NodeSpec<'_>) -> Result<(Geometry, usize), Refusal> {
    let NodeOp::ConvTranspose {
        window,
        output_padding,
        groups,
    } = node.op
    else {
        return Err(Refusal::Operator(
            "this kernel computes transposed convolutions only",
        ));
    };
    let [input] = node.inputs else {
        return Err(Refusal::Shape("a convolution has one input and a weight"));
    };
    let direction = Direction::Transposed;
    let geometry = Geometry::new(window, output_padding, direction, input, &node.output)?;
    Ok((geometry, groups))
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (geometry, groups) = geometry(node)?;
    TRANSPOSED.sizes(node, &geometry, groups)
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (geometry, groups) = geometry(node)?;
    TRANSPOSED.pack(node, &geometry, groups, blob)
}
