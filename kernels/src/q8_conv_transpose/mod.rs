//! `q8_conv_transpose`: transposed convolution of quantized lines, images and volumes.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec, Refusal, Sizes};

use crate::affine::Numerics;
use crate::blob::Tag;
use crate::gemm::Family;
use crate::q8_conv::SIGNATURE;
use crate::volume::{Convolution, Direction, Geometry};

/// Of [`Q8ConvTranspose`].
const QNNPACK: Convolution = family("q8_conv_transpose", [*b"qct1", *b"QCT1"], Numerics::Qnnpack);

/// Of [`fbgemm::Q8ConvTranspose`](crate::fbgemm::Q8ConvTranspose).
pub(crate) const FBGEMM: Convolution = family(
    "fbgemm_q8_conv_transpose",
    [*b"qft1", *b"QFT1"],
    Numerics::Fbgemm,
);

/// With the tags of the volume and of the product inside.
const fn family(
    kernel: &'static str,
    [volume, product]: [[u8; 4]; 2],
    numerics: Numerics,
) -> Convolution {
    Convolution {
        tag: Tag {
            word: volume,
            kernel,
        },
        product: Family {
            tag: Tag {
                word: product,
                kernel,
            },
            is_dynamic: false,
            numerics,
        },
        direction: Direction::Transposed,
    }
}

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
        name: QNNPACK.tag.kernel,
        signature: SIGNATURE,
        sizes: |node| sizes(QNNPACK, node),
        pack: |node, blob| pack(QNNPACK, node, blob),
        split: |blob, inputs| QNNPACK.split(blob, inputs),
        run: |call| QNNPACK.run(call),
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

/// As [`Kernel::sizes`].
pub(crate) fn sizes(family: Convolution, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (geometry, groups) = geometry(node)?;
    family.sizes(node, &geometry, groups)
}

/// As [`Kernel::pack`].
pub(crate) fn pack(
    family: Convolution,
    node: &NodeSpec<'_>,
    blob: &mut [u8],
) -> Result<(), Refusal> {
    let (geometry, groups) = geometry(node)?;
    family.pack(node, &geometry, groups, blob)
}
