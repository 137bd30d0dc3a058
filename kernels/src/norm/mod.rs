//! Normalizations: batch, group (instance) and layer.
//!
//! Sums over values are exact integers; what is worked out from them is `f64` in one fixed order, rounded
//! once to `f32`; what is applied to each value is `f32`, each step rounded. So the bytes are the same on
//! every instruction set and for every cut of the work, and at most one step from the float operator.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod batch;
mod group;
mod layer;
mod reference;

use qconfig_core::kernel::{NodeSpec, Refusal, Signature, WeightData, WeightSpec};
use qconfig_core::{DType, Isa};

pub use batch::Q8BatchNorm;
pub use group::Q8GroupNorm;
pub use layer::Q8LayerNorm;

use crate::output::Output;

/// Bytes in, bytes out.
const SIGNATURE: Signature = Signature::activations(
    &[DType::quint8, DType::qint8],
    &[DType::quint8, DType::qint8],
);

/// Coefficients beyond this are cut, so that no value becomes infinite.
const LARGEST: f64 = 1e30;

/// A coefficient as it is applied.
fn coefficient(x: f64) -> f32 {
    x.clamp(-LARGEST, LARGEST) as f32
}

/// Channels that a table of coefficients is repeated to: whole channels, and a vector at least.
fn period(channels: usize) -> usize {
    const VECTOR: usize = 32;
    channels * VECTOR.div_ceil(channels.max(1)).max(1)
}

/// `clamp(rne(f32(q - za) * a + b) + zo)`, `a` and `b` of each channel.
#[derive(Clone, Copy)]
struct Affine<'a> {
    /// Little-endian `f32`, of one [`period`].
    a: &'a [[u8; 4]],
    b: &'a [[u8; 4]],
    zero_point: u8,
    output: Output,
}

impl Affine<'_> {
    /// Values of whole channels, the first of them channel 0.
    fn apply(&self, input: &[u8], output: &mut [u8], isa: Isa) {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::affine(self, input, output) },
            _ => reference::affine(self, input, output),
        }
    }
}

/// `clamp(rne((f32(q - za) * p + r) * a + b) + zo)`, `a` and `b` of each feature.
#[derive(Clone, Copy)]
struct Row<'a> {
    p: f32,
    r: f32,
    /// As [`Affine::a`], one for each feature.
    a: &'a [[u8; 4]],
    b: &'a [[u8; 4]],
    zero_point: u8,
    output: Output,
}

impl Row<'_> {
    /// One row.
    fn apply(&self, input: &[u8], output: &mut [u8], isa: Isa) {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::row(self, input, output) },
            _ => reference::row(self, input, output),
        }
    }
}

/// Exact sums of stored bytes.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: u64,
    sum: u64,
    squares: u64,
}

impl Moments {
    /// Mean, and `1 / sqrt(variance * scale^2 + eps)`.
    fn normal(&self, scale: f32, eps: f32) -> (f64, f64) {
        let count = self.count.max(1) as f64;
        // exact: a count below 2^40 times squares below 2^56 fits 128 bits
        let spread = u128::from(self.count) * u128::from(self.squares);
        let spread = spread.saturating_sub(u128::from(self.sum) * u128::from(self.sum));
        let variance = spread as f64 / (count * count);
        let scale = f64::from(scale);
        let deviation = libm::sqrt(variance * (scale * scale) + f64::from(eps));
        (self.sum as f64 / count, 1.0 / deviation)
    }
}

/// Some neighbouring channels of an image of whole positions.
#[derive(Clone, Copy)]
struct Channels<'a> {
    image: &'a [u8],
    /// Of the image; not 0.
    channels: usize,
    first: usize,
}

impl Channels<'_> {
    /// Adds up each of as many channels as `sums` has, values and squares.
    fn add(self, sums: &mut [[u64; 2]], isa: Isa) {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::add_channels(self, sums) },
            _ => reference::add_channels(self, sums),
        }
    }
}

/// The sums of a row.
fn row_moments(input: &[u8], isa: Isa) -> Moments {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::row_moments(input) },
        _ => reference::row_moments(input),
    }
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "x32__avx2",
        _ => "x1__scalar",
    }
}

/// A parameter: as many finite values as asked for.
fn parameter<'a>(weight: &WeightSpec<'a>, count: usize) -> Result<&'a [f32], Refusal> {
    let WeightData::F32(values) = weight.data else {
        return Err(Refusal::DType {
            place: "parameter",
            dtype: weight.dtype,
        });
    };
    if values.len() != count {
        return Err(Refusal::Shape(
            "a parameter has not one value for each channel",
        ));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Refusal::NotFinite("parameter"));
    }
    Ok(values)
}

/// Weight and bias, or neither: then weights are 1 and biases 0.
#[derive(Clone, Copy)]
struct WeightAndBias<'a>(Option<[&'a [f32]; 2]>);

impl<'a> WeightAndBias<'a> {
    fn of(spec: &NodeSpec<'a>, count: usize) -> Result<Self, Refusal> {
        match spec.parameters {
            [] => Ok(Self(None)),
            [weight, bias] => Ok(Self(Some([
                parameter(weight, count)?,
                parameter(bias, count)?,
            ]))),
            _ => Err(Refusal::Shape(
                "the parameters are weight and bias, or there are none",
            )),
        }
    }

    fn get(&self, at: usize) -> [f64; 2] {
        match self.0 {
            Some([weight, bias]) => [f64::from(weight[at]), f64::from(bias[at])],
            None => [1.0, 0.0],
        }
    }
}

/// An `eps` that keeps a variance of 0 from being divided by.
fn checked_eps(eps: f32) -> Result<f32, Refusal> {
    if eps.is_normal() && eps > 0.0 {
        Ok(eps)
    } else {
        Err(Refusal::Operator("eps must be a positive normal number"))
    }
}
