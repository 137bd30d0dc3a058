//! `a + b` of quantized tensors, with an activation.
//!
//! Three forms, chosen when the plan is made. `ao = sa / so` and `bo = sb / so` are ratios in f32:
//! - `quint8` is QNNPACK's: multipliers `rne(ao * 2^shift)` with `shift = 21 - exponent(max(ao, bo))`,
//!   the exact sum of products divided by `2^shift`, rounded half away from zero;
//! - `qint8` is XNNPACK's: `shift = 20 - exponent`, rounded half up;
//! - where a ratio is outside what those libraries take (`[2^-14, 2^8)` and `[2^-10, 2^8)`), or where
//!   QNNPACK's shift would exceed 31, ATen's: dequantize both, add in f32, quantize.
//!
//! With FBGEMM's numerics ([`fbgemm::Q8Add`](crate::fbgemm::Q8Add)) it is ATen's always.
//!
//! The form depends on the scales alone. torch takes ATen's form for shapes that broadcast as well, so that
//! the same values added in another shape are rounded otherwise; here they are not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    TensorSpec, Unary,
};
use qconfig_core::{DType, Isa, IsaLevel};

use crate::affine::{Numerics, Stored, bounds, round_ties_even, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::broadcast::{Broadcast, SECTION};
use crate::{lut, q8_lut, units};

/// Adds two quantized tensors of the same dtype, whose shapes broadcast to the output's as numpy's do; or a
/// tensor and a number, by [`Q8Lut`](crate::Q8Lut). See the module for the three forms.
#[derive(Clone, Copy, Debug)]
pub struct Q8Add;

/// Whose sums.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) tag: Tag,
    numerics: Numerics,
}

/// Of [`Q8Add`].
const QNNPACK: Family = Family {
    tag: Tag {
        word: *b"add2",
        kernel: "q8_add",
    },
    numerics: Numerics::Qnnpack,
};

/// Of [`fbgemm::Q8Add`](crate::fbgemm::Q8Add).
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"adf2",
        kernel: "fbgemm_q8_add",
    },
    numerics: Numerics::Fbgemm,
};

/// Header, then how the operands broadcast.
const BLOB: usize = HEADER + SECTION;

impl KernelFamily for Q8Add {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.tag.kernel,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes: |spec| QNNPACK.sizes(spec),
        pack: |spec, blob| QNNPACK.pack(spec, blob),
        split: |blob, inputs| QNNPACK.split(blob, inputs),
        run: |call| QNNPACK.run(call),
        variant: |blob, isa| QNNPACK.variant(blob, isa),
    };
}

/// Fixed-point form: `sum = a * q_a + b * q_b + bias`, then a shift that rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fixed {
    /// In `0..=2^22`.
    a: u32,
    /// In `0..=2^22`.
    b: u32,
    /// `-(a * za + b * zb)`; plus half of `2^shift` in [`Form::HalfUp`].
    bias: i32,
    /// In `1..=31`.
    shift: u32,
}

impl Fixed {
    /// The multipliers cut for a multiply-add of `i16` pairs: `m = high * 128 + low`, as
    /// `[high_a | high_b << 16, low_a | low_b << 16]`.
    ///
    /// A byte shifted left by 7 is still a positive `i16`, so `q * m = (q << 7) * high + q * low`.
    /// `high` stays at 32767 for `m = 2^22`, where `low` is then 128.
    #[cfg(target_arch = "x86_64")]
    fn pairs(&self) -> [i32; 2] {
        let high = |m: u32| (m >> 7).min(32_767);
        let low = |m: u32| m - high(m) * 128;
        [
            high(self.a) | high(self.b) << 16,
            low(self.a) | low(self.b) << 16,
        ]
        .map(|pair| pair as i32)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// `(sum + half) >> shift`, half already in the bias.
    HalfUp(Fixed),
    /// Half away from zero.
    HalfAway(Fixed),
    /// Dequantize, add, quantize.
    Float([Stored; 2], f32),
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Params {
    form: Form,
    zero_point: u8,
    low: u8,
    high: u8,
}

struct Header {
    shape: Broadcast,
    params: Params,
}

fn plan(numerics: Numerics, spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::Add {
        return Err(Refusal::Operator("this kernel adds and does nothing else"));
    }
    let inputs @ [a, b] = units::arity(spec)?;
    let same = |tensor: &TensorSpec<'_>, place| {
        let dtype = tensor.dtype;
        if dtype == spec.output.dtype {
            Ok(())
        } else {
            Err(Refusal::DType { place, dtype })
        }
    };
    let (za, zb, to) = (
        stored("input", a)?,
        stored("input", b)?,
        stored("output", &spec.output)?,
    );
    same(a, "input")?;
    same(b, "input")?;
    let form = match (numerics, a.dtype) {
        (Numerics::Fbgemm, _) => None,
        (_, DType::quint8) => qnnpack(za, zb, to),
        _ => xnnpack(za, zb, to),
    };
    let (low, high) = bounds(spec.activation, to);
    let form = form.unwrap_or(Form::Float([za, zb], to.scale));
    Ok(Header {
        shape: Broadcast::new(inputs, &spec.output)?,
        params: Params {
            form,
            zero_point: to.zero_point as u8,
            low,
            high,
        },
    })
}

/// Multipliers with `bits` bits in the larger one, if both ratios are in `[low, 2^8)` and the shift is one.
fn fixed(a: Stored, b: Stored, to: Stored, bits: i32, low: f32) -> Option<Fixed> {
    let ratios = [a.scale / to.scale, b.scale / to.scale];
    if !ratios.iter().all(|ratio| (low..256.0).contains(ratio)) {
        return None;
    }
    let exponent = (ratios[0].max(ratios[1]).to_bits() >> 23) as i32 - 127;
    let shift = u32::try_from(bits - exponent)
        .ok()
        .filter(|shift| (1..32).contains(shift))?;
    // both exact: a power of two, and a product with one
    let unit = (1u64 << shift) as f32;
    let [am, bm] = ratios.map(|ratio| round_ties_even(ratio * unit) as u32);
    // at most 2 * 2^22 * 255, below 2^31
    let bias = -((am as i32) * a.zero_point + (bm as i32) * b.zero_point);
    Some(Fixed {
        a: am,
        b: bm,
        bias,
        shift,
    })
}

fn qnnpack(a: Stored, b: Stored, to: Stored) -> Option<Form> {
    let fixed = fixed(a, b, to, 21, 1.0 / 16384.0)?;
    let half = 1i32 << (fixed.shift - 1);
    let sum = |qa: u32, qb: u32| (fixed.a * qa + fixed.b * qb) as i32 + fixed.bias;
    // half away and half up differ in negative ties alone; mostly no pair of bytes has one, and the cheaper
    // form is the same function
    let tie = |sum: i32| sum < 0 && (sum & (half | (half - 1))) == half;
    let mut ties = (0..256).flat_map(|qa| (0..256).map(move |qb| (qa, qb)));
    match fixed.bias.checked_add(half) {
        Some(bias)
            if sum(255, 255).checked_add(half).is_some()
                && !ties.any(|(qa, qb)| tie(sum(qa, qb))) =>
        {
            Some(Form::HalfUp(Fixed { bias, ..fixed }))
        }
        _ => Some(Form::HalfAway(fixed)),
    }
}

fn xnnpack(a: Stored, b: Stored, to: Stored) -> Option<Form> {
    let fixed = fixed(a, b, to, 20, 1.0 / 1024.0)?;
    // multipliers have 21 bits and half at most 29: no overflow
    Some(Form::HalfUp(Fixed {
        bias: fixed.bias + (1 << (fixed.shift - 1)),
        ..fixed
    }))
}

/// Whether a node adds a number: the table's kernel takes over, by its tag in the blob.
fn is_scalar(spec: &NodeSpec<'_>) -> bool {
    matches!(spec.op, NodeOp::Unary(Unary::AddScalar { .. }))
}

impl Params {
    fn decode([kind, zero_point, low, high]: [u32; 4], form: [u32; 5]) -> Option<Self> {
        let byte = |word| u8::try_from(word).ok();
        let scale =
            |word| Some(f32::from_bits(word)).filter(|scale| scale.is_normal() && *scale > 0.0);
        let form = match (kind, form) {
            (0 | 1, [a, b, bias, shift, _]) => {
                let fixed = Fixed {
                    a,
                    b,
                    bias: bias as i32,
                    shift,
                };
                if a > 1 << 22 || b > 1 << 22 || !(1..32).contains(&shift) {
                    return None;
                }
                if kind == 0 {
                    Form::HalfUp(fixed)
                } else {
                    Form::HalfAway(fixed)
                }
            }
            (2, [sa, za, sb, zb, so]) => {
                let stored = |s, z| {
                    Some(Stored {
                        scale: scale(s)?,
                        zero_point: byte(z)?.into(),
                    })
                };
                Form::Float([stored(sa, za)?, stored(sb, zb)?], scale(so)?)
            }
            _ => return None,
        };
        Some(Self {
            form,
            zero_point: byte(zero_point)?,
            low: byte(low)?,
            high: byte(high)?,
        })
    }
}

impl Header {
    fn read(tag: Tag, blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), BLOB)?;
        let [kind, zero_point, low, high, v, w, x, y, z, ..] = tag.read(blob)?;
        let params = Params::decode([kind, zero_point, low, high], [v, w, x, y, z]);
        let shape = blob.get(HEADER..).and_then(Broadcast::read);
        let (Some(shape), Some(params)) = (shape, params) else {
            return Err(BlobError::Header(tag.kernel));
        };
        Ok(Self { shape, params })
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        self.shape.check(units::lengths(inputs)?)?;
        Ok(units::split(self.shape.elements(), 1, 1 << 15))
    }
}

impl Family {
    /// As [`Kernel::sizes`].
    pub(crate) fn sizes(self, spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
        if is_scalar(spec) {
            return q8_lut::QNNPACK.sizes(spec);
        }
        plan(self.numerics, spec)?;
        Ok(Sizes {
            blob: BLOB,
            scratch: 0,
        })
    }

    /// As [`Kernel::pack`]. Words: form, output zero point, bounds, then five words of the form.
    pub(crate) fn pack(self, spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
        if is_scalar(spec) {
            return q8_lut::QNNPACK.pack(spec, blob);
        }
        let Header {
            shape,
            params:
                Params {
                    form,
                    zero_point,
                    low,
                    high,
                },
        } = plan(self.numerics, spec)?;
        units::blob_length(blob, BLOB)?;
        let (kind, form) = match form {
            Form::HalfUp(Fixed { a, b, bias, shift }) => (0, [a, b, bias as u32, shift, 0]),
            Form::HalfAway(Fixed { a, b, bias, shift }) => (1, [a, b, bias as u32, shift, 0]),
            Form::Float([a, b], scale) => {
                let zero_points = [a.zero_point as u32, b.zero_point as u32];
                (
                    2,
                    [
                        a.scale.to_bits(),
                        zero_points[0],
                        b.scale.to_bits(),
                        zero_points[1],
                        scale.to_bits(),
                    ],
                )
            }
        };
        let mut words = [0; 15];
        words[..4].copy_from_slice(&[kind, zero_point.into(), low.into(), high.into()]);
        words[4..9].copy_from_slice(&form);
        let (header, section) = blob.split_at_mut(HEADER);
        self.tag.write(header, &words);
        shape.write(section)
    }

    /// As [`Kernel::split`].
    pub(crate) fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        if q8_lut::QNNPACK.owns(blob) {
            return q8_lut::QNNPACK.split(blob, inputs);
        }
        Header::read(self.tag, blob)?.split(inputs)
    }

    /// As [`Kernel::run`].
    pub(crate) fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        if q8_lut::QNNPACK.owns(call.blob) {
            return q8_lut::QNNPACK.run(call);
        }
        let header = Header::read(self.tag, call.blob)?;
        let (a, b) = (units::input(call.inputs, 0)?, units::input(call.inputs, 1)?);
        let split = header.split(&[a.len(), b.len()])?;
        let part = units::part(&split, &call.units, call.output.len())?;
        let params = &header.params;
        let add = |a: &[u8], b: &[u8], y: &mut [u8]| match call.isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this level proves that the CPU has AVX2, AVX-512 F, BW and VNNI.
            IsaLevel::Avx512Vnni => unsafe { avx512::add(params, a, b, y) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::add(params, a, b, y) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
            level if level.has_neon() => unsafe { neon::add(params, a, b, y) },
            _ => reference::add(params, a, b, y),
        };
        header.shape.spans(part.start, [a, b], call.output, add);
        Ok(())
    }

    /// As [`Kernel::variant`].
    pub(crate) fn variant(self, blob: &[u8], isa: Isa) -> &'static str {
        if q8_lut::QNNPACK.owns(blob) {
            return lut::variant(isa);
        }
        let form = Header::read(self.tag, blob).map(|header| header.params.form);
        match (isa.level(), form) {
            (IsaLevel::Avx512Vnni, Ok(Form::HalfUp(_))) => "fixed_x64__avx512vnni",
            (level, Ok(form)) if level.has_avx2() => match form {
                Form::HalfUp(_) => "fixed_x32__avx2",
                Form::HalfAway(_) => "fixed_ties_x32__avx2",
                Form::Float(..) => "float_x32__avx2",
            },
            (level, Ok(form)) if level.has_neon() => match form {
                Form::HalfUp(_) => "fixed_x16__neon",
                Form::HalfAway(_) => "fixed_ties_x16__neon",
                Form::Float(..) => "float_x16__neon",
            },
            (_, Ok(Form::Float(..))) => "float_x1__scalar",
            _ => "fixed_x1__scalar",
        }
    }
}
