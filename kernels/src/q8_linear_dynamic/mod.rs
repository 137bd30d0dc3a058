//! `q8_linear_dynamic`: `float32` rows, quantized on the fly, times a quantized weight.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod qparams;
mod reference;

use qconfig_core::DType::{float32, qint8, quint8};
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, NodeSpec, QParams, Refusal, Signature, Sizes, Split,
};
use qconfig_core::{Isa, KernelFamily};

use crate::affine::{Numerics, Stored};
use crate::blob::{self, Tag};
use crate::gemm::{self, Family, Finish, Geometry, Packed, Params, Rows, Taps, Weight};
use crate::q8_linear;
use crate::quantize::quantize;

/// Of [`Q8LinearDynamic`].
const QNNPACK: Family = Family {
    tag: Tag {
        word: *b"QLD1",
        kernel: "q8_linear_dynamic",
    },
    is_dynamic: true,
    numerics: Numerics::Qnnpack,
};

/// Of [`fbgemm::Q8LinearDynamic`](crate::fbgemm::Q8LinearDynamic).
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"QLG1",
        kernel: "fbgemm_q8_linear_dynamic",
    },
    is_dynamic: true,
    numerics: Numerics::Fbgemm,
};

/// Linear layer, `float32` in and out, `qint8` weight, `float32` bias.
///
/// The whole input is quantized to `quint8` with parameters from its least and greatest value, as
/// torch's QNNPACK engine does (with `reduce_range` honoured); the sum is exact, and
/// `y = f32(sum) * (scale * weight_scale) + bias` rounds after each step. Values that are not finite
/// do not count for the range; infinities become its ends, NaN becomes zero.
#[derive(Clone, Copy, Debug)]
pub struct Q8LinearDynamic;

impl KernelFamily for Q8LinearDynamic {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.tag.kernel,
        signature: SIGNATURE,
        sizes: |node| sizes(QNNPACK, node),
        pack: |node, blob| pack(QNNPACK, node, blob),
        split: |blob, inputs| split(QNNPACK, blob, inputs),
        run: |call| run(QNNPACK, call),
        variant: |blob, isa| gemm::variant_of(QNNPACK, blob, isa),
    };
}

/// Scale and zero point with which dynamic kernels quantize an input of these values to `quint8`, to 7 bits
/// with `reduce_range`; values that are not finite do not count.
pub fn dynamic_qparams(values: &[f32], reduce_range: bool) -> QParams {
    let finite = values.iter().copied().filter(|x| x.is_finite());
    let (least, greatest) = finite.fold((0.0f32, 0.0f32), |(least, greatest), x| {
        (least.min(x), greatest.max(x))
    });
    let Stored { scale, zero_point } = qparams::choose(least, greatest, reduce_range);
    QParams { scale, zero_point }
}

/// What a dynamic layer takes and gives.
pub(crate) const SIGNATURE: Signature = Signature {
    input: &[quint8, qint8],
    output: &[float32],
    weight: &[qint8],
    bias: &[float32],
    is_dynamic: true,
    weight_range: None,
    scale_min: None,
};

/// The bounds that an activation leaves.
pub(crate) fn float_bounds(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clamp { low, high } => (low, high),
    }
}

/// Refuses what is not `float32` to `float32`.
pub(crate) fn floats(node: &NodeSpec<'_>) -> Result<(), Refusal> {
    let places = node.inputs.iter().map(|input| ("input", input.dtype));
    let mut places = places.chain([("output", node.output.dtype)]);
    match places.find(|(_, dtype)| *dtype != float32) {
        Some((place, dtype)) => Err(Refusal::DType { place, dtype }),
        None => Ok(()),
    }
}

fn checked<'a>(node: &NodeSpec<'a>) -> Result<(Geometry, Weight<'a>), Refusal> {
    floats(node)?;
    let geometry = q8_linear::geometry(node)?;
    Ok((geometry, Weight::new(node, &geometry)?))
}

/// As [`Kernel::sizes`].
pub(crate) fn sizes(family: Family, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (geometry, weight) = checked(node)?;
    let blob = Packed::bytes(family, &geometry, &weight)?;
    Ok(gemm::sizes(blob, &geometry))
}

/// As [`Kernel::pack`].
pub(crate) fn pack(family: Family, node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (geometry, weight) = checked(node)?;
    let params = Params::Dynamic {
        reduce_range: node.reduce_range,
        bounds: float_bounds(node.activation),
    };
    Packed::write(family, &geometry, &weight, &params, blob)
}

/// As [`Kernel::split`].
pub(crate) fn split(family: Family, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let packed = Packed::read(family, blob)?;
    let input = gemm::single(inputs)?;
    blob::exact("input", input, packed.geometry.input_elements() * 4)?;
    Ok(packed.cut().split())
}

/// As [`Kernel::run`].
pub(crate) fn run(family: Family, call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(family, call.blob)?;
    let input = gemm::single(call.inputs)?;
    blob::exact("input", input.len(), packed.geometry.input_elements() * 4)?;
    let Finish::Dequantize {
        low,
        high,
        is_fused,
        ..
    } = packed.finish
    else {
        return Err(BlobError::Header(family.tag.kernel));
    };
    // each call looks at the whole input: all come to the same parameters without a word between them
    let (least, greatest) = range(call.isa, input);
    let to = qparams::choose(least, greatest, packed.reduce_range);
    let rows = Floats {
        input,
        k: packed.geometry.k,
        to,
        isa: call.isa,
    };
    let finish = Finish::Dequantize {
        scale: to.scale,
        zero_point: to.zero_point as u8,
        low,
        high,
        is_fused,
    };
    gemm::run(
        &packed,
        &rows,
        finish,
        &call.units,
        call.output,
        call.scratch,
        call.isa,
    )
}

/// The least and the greatest of zero and the finite values.
fn range(isa: Isa, input: &[u8]) -> (f32, f32) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::range(input) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::range(input) },
        _ => reference::range(input),
    }
}

/// Rows of native-endian `f32`, quantized as they are read.
struct Floats<'a> {
    input: &'a [u8],
    k: usize,
    to: Stored,
    isa: Isa,
}

impl Rows for Floats<'_> {
    fn lying(&self, _: usize, _: usize) -> Option<&[u8]> {
        None
    }

    fn gather(&self, row: usize, _: usize, to: &mut [u8]) {
        let bytes = self.k * 4;
        quantize(self.isa, self.to, &self.input[row * bytes..][..bytes], to);
    }

    fn image(&self) -> Option<Taps<'_>> {
        None
    }
}
