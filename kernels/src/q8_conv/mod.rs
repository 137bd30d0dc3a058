//! `q8_conv`: convolution of quantized images, channels last, as one product for each group. Where each
//! group is one channel of an image, the depthwise kernel takes over, and for volumes the gathered product
//! of [`volume`](crate::volume), each by its tag in the blob.

use qconfig_core::DType::{float32, qint8, quint8};
use qconfig_core::kernel::{
    BlobError, Call, Kernel, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};
use qconfig_core::{Isa, KernelFamily};

use crate::blob::Tag;
use crate::depthwise;
use crate::gemm::{self, Family, Geometry, Packed, Params, Weight};
use crate::volume::{self, Convolution, Direction};

const FAMILY: Family = Family {
    tag: Tag {
        word: *b"QCO1",
        kernel: "q8_conv",
    },
    is_dynamic: false,
};

/// Convolutions of three dimensions.
const VOLUME: Convolution = Convolution {
    tag: Tag {
        word: *b"qc31",
        kernel: FAMILY.tag.kernel,
    },
    product: Family {
        tag: Tag {
            word: *b"QC31",
            kernel: FAMILY.tag.kernel,
        },
        is_dynamic: false,
    },
    direction: Direction::Forward,
};

/// Convolution, `quint8` or `qint8` in and out, `qint8` weight, `float32` bias; one to three
/// dimensions, any stride, padding, dilation and number of groups.
///
/// Numerics as [`Q8Linear`](crate::Q8Linear); padding counts as real zeros.
#[derive(Clone, Copy, Debug)]
pub struct Q8Conv;

impl KernelFamily for Q8Conv {
    const KERNEL: &'static Kernel = &Kernel {
        name: FAMILY.tag.kernel,
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
        split,
        run,
        variant,
    };
}

/// `[N, H, W, C]`; a line of pixels `[N, L, C]` is an image of height 1.
fn nhwc(shape: &[usize]) -> Option<[usize; 4]> {
    match *shape {
        [n, l, c] => Some([n, 1, l, c]),
        [n, h, w, c] => Some([n, h, w, c]),
        _ => None,
    }
}

fn geometry(node: &NodeSpec<'_>) -> Result<Geometry, Refusal> {
    let NodeOp::Conv { window, groups } = node.op else {
        return Err(Refusal::Operator("this kernel computes convolutions only"));
    };
    let ([input], Some(weight)) = (node.inputs, node.weight) else {
        return Err(Refusal::Shape("a convolution has one input and a weight"));
    };
    let rank = input.shape.len();
    if node.output.shape.len() != rank || !(weight.shape.len() == 4 || weight.shape.len() == rank) {
        return Err(Refusal::Shape(
            "input, weight and output have not the same rank",
        ));
    }
    let (Some(shape), Some(out), Some([outputs, height, width, channels])) = (
        nhwc(input.shape),
        nhwc(node.output.shape),
        nhwc(weight.shape),
    ) else {
        return Err(Refusal::Shape(
            "a convolution has one or two spatial dimensions",
        ));
    };
    let unfit = Refusal::Shape("the shapes of input, window and output do not fit each other");
    let Some(geometry) = Geometry::new(shape, outputs, groups, window) else {
        return Err(unfit);
    };
    if geometry.output_shape() != out
        || geometry.tap_channels() != channels
        || window.kernel != [height, width]
    {
        return Err(unfit);
    }
    Ok(geometry)
}

fn checked<'a>(node: &NodeSpec<'a>) -> Result<(Geometry, Weight<'a>, Params), Refusal> {
    let geometry = geometry(node)?;
    Ok((geometry, Weight::new(node, &geometry)?, Params::of(node)?))
}

/// Whether each group is one of several input channels.
fn is_depthwise(node: &NodeSpec<'_>) -> bool {
    match (node.op, node.inputs) {
        (NodeOp::Conv { groups, .. }, [input]) => groups > 1 && input.shape.last() == Some(&groups),
        _ => false,
    }
}

/// Whether a blob is the depthwise kernel's.
fn is_depthwise_blob(blob: &[u8]) -> bool {
    blob.starts_with(&depthwise::TAG.word)
}

/// Volume and groups of a convolution of three dimensions.
fn volume(node: &NodeSpec<'_>) -> Option<Result<(volume::Geometry, usize), Refusal>> {
    let NodeOp::Conv3d { window, groups } = node.op else {
        return None;
    };
    let [input] = node.inputs else {
        let refusal = Refusal::Shape("a convolution has one input and a weight");
        return Some(Err(refusal));
    };
    let direction = Direction::Forward;
    let geometry = volume::Geometry::new(window, [0; 3], direction, input, &node.output);
    Some(geometry.map(|geometry| (geometry, groups)))
}

/// Whether a blob is a volume's.
fn is_volume_blob(blob: &[u8]) -> bool {
    blob.starts_with(&VOLUME.tag.word)
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    if let Some(volume) = volume(node) {
        let (geometry, groups) = volume?;
        return VOLUME.sizes(node, &geometry, groups);
    }
    if is_depthwise(node) {
        return depthwise::sizes(node);
    }
    let (geometry, weight, _) = checked(node)?;
    Ok(gemm::sizes(
        Packed::bytes(FAMILY, &geometry, &weight)?,
        &geometry,
    ))
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    if let Some(volume) = volume(node) {
        let (geometry, groups) = volume?;
        return VOLUME.pack(node, &geometry, groups, blob);
    }
    if is_depthwise(node) {
        return depthwise::pack(node, blob);
    }
    let (geometry, weight, params) = checked(node)?;
    Packed::write(FAMILY, &geometry, &weight, &params, blob)
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    if is_depthwise_blob(blob) {
        return depthwise::split(blob, inputs);
    }
    if is_volume_blob(blob) {
        return VOLUME.split(blob, inputs);
    }
    gemm::split_image(FAMILY, blob, inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    if is_depthwise_blob(call.blob) {
        return depthwise::run(call);
    }
    if is_volume_blob(call.blob) {
        return VOLUME.run(call);
    }
    gemm::run_image(FAMILY, call)
}

fn variant(blob: &[u8], isa: Isa) -> &'static str {
    if is_depthwise_blob(blob) {
        return depthwise::variant(blob, isa);
    }
    gemm::variant_image(FAMILY, blob, isa)
}
