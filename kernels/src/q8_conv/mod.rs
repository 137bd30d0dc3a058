//! `q8_conv`: convolution of quantized images, channels last, as one product for each group. Where each
//! group is one channel of an image, the depthwise kernel takes over, and for volumes the gathered product
//! of [`volume`](crate::volume), each by its tag in the blob.

use qconfig_core::DType::{float32, qint8, quint8};
use qconfig_core::kernel::{
    BlobError, Call, Kernel, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};
use qconfig_core::{Isa, KernelFamily};

use crate::affine::Numerics;
use crate::blob::Tag;
use crate::depthwise;
use crate::gemm::{self, Family, Geometry, Packed, Params, Weight};
use crate::volume::{self, Convolution, Direction};

/// Whose blobs, of each form.
#[derive(Clone, Copy)]
pub(crate) struct Forms {
    image: Family,
    /// Of three dimensions.
    volume: Convolution,
    depthwise: depthwise::Family,
}

/// Of [`Q8Conv`].
const QNNPACK: Forms = Forms::new(
    "q8_conv",
    [*b"QCO1", *b"qc31", *b"QC31"],
    depthwise::QNNPACK,
    Numerics::Qnnpack,
);

/// Of [`fbgemm::Q8Conv`](crate::fbgemm::Q8Conv).
pub(crate) const FBGEMM: Forms = Forms::new(
    "fbgemm_q8_conv",
    [*b"QCF1", *b"qf31", *b"QF31"],
    depthwise::FBGEMM,
    Numerics::Fbgemm,
);

/// Convolution, `quint8` or `qint8` in and out, `qint8` weight, `float32` bias; one to three
/// dimensions, any stride, padding, dilation and number of groups.
///
/// Numerics as [`Q8Linear`](crate::Q8Linear); padding counts as real zeros.
#[derive(Clone, Copy, Debug)]
pub struct Q8Conv;

impl KernelFamily for Q8Conv {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.name(),
        signature: SIGNATURE,
        sizes: |node| QNNPACK.sizes(node),
        pack: |node, blob| QNNPACK.pack(node, blob),
        split: |blob, inputs| QNNPACK.split(blob, inputs),
        run: |call| QNNPACK.run(call),
        variant: |blob, isa| QNNPACK.variant(blob, isa),
    };
}

/// What a convolution takes and gives.
pub(crate) const SIGNATURE: Signature = Signature {
    input: &[quint8, qint8],
    output: &[quint8, qint8],
    weight: &[qint8],
    bias: &[float32],
    is_dynamic: false,
    weight_range: None,
    scale_min: None,
};

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

impl Forms {
    /// With the tags of images, of volumes and of the products inside them.
    const fn new(
        kernel: &'static str,
        [image, volume, product]: [[u8; 4]; 3],
        depthwise: depthwise::Family,
        numerics: Numerics,
    ) -> Forms {
        Forms {
            image: Family {
                tag: Tag {
                    word: image,
                    kernel,
                },
                is_dynamic: false,
                numerics,
            },
            volume: Convolution {
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
                direction: Direction::Forward,
            },
            depthwise,
        }
    }

    /// The kernel's name.
    pub(crate) const fn name(self) -> &'static str {
        self.image.tag.kernel
    }

    /// Whether a blob is the depthwise kernel's.
    fn is_depthwise_blob(self, blob: &[u8]) -> bool {
        blob.starts_with(&self.depthwise.tag.word)
    }

    /// Whether a blob is a volume's.
    fn is_volume_blob(self, blob: &[u8]) -> bool {
        blob.starts_with(&self.volume.tag.word)
    }

    /// As [`Kernel::sizes`].
    pub(crate) fn sizes(self, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
        if let Some(volume) = volume(node) {
            let (geometry, groups) = volume?;
            return self.volume.sizes(node, &geometry, groups);
        }
        if is_depthwise(node) {
            return self.depthwise.sizes(node);
        }
        let (geometry, weight, _) = checked(node)?;
        Ok(gemm::sizes(
            Packed::bytes(self.image, &geometry, &weight)?,
            &geometry,
        ))
    }

    /// As [`Kernel::pack`].
    pub(crate) fn pack(self, node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
        if let Some(volume) = volume(node) {
            let (geometry, groups) = volume?;
            return self.volume.pack(node, &geometry, groups, blob);
        }
        if is_depthwise(node) {
            return self.depthwise.pack(node, blob);
        }
        let (geometry, weight, params) = checked(node)?;
        Packed::write(self.image, &geometry, &weight, &params, blob)
    }

    /// As [`Kernel::split`].
    pub(crate) fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        if self.is_depthwise_blob(blob) {
            return self.depthwise.split(blob, inputs);
        }
        if self.is_volume_blob(blob) {
            return self.volume.split(blob, inputs);
        }
        gemm::split_image(self.image, blob, inputs)
    }

    /// As [`Kernel::run`].
    pub(crate) fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        if self.is_depthwise_blob(call.blob) {
            return self.depthwise.run(call);
        }
        if self.is_volume_blob(call.blob) {
            return self.volume.run(call);
        }
        gemm::run_image(self.image, call)
    }

    /// As [`Kernel::variant`].
    pub(crate) fn variant(self, blob: &[u8], isa: Isa) -> &'static str {
        if self.is_depthwise_blob(blob) {
            return self.depthwise.variant(blob, isa);
        }
        gemm::variant_of(self.image, blob, isa)
    }
}
