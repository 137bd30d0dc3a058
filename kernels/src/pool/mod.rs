//! Maximum and mean over windows, and the mean over all positions.

mod average;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod global;
mod max;
mod mean;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{Refusal, Signature, Split};
use qconfig_core::{DType, Isa};

pub use average::Q8AvgPool;
pub use global::Q8GlobalAvgPool;
pub use max::Q8MaxPool;

use crate::spatial::Geometry;

/// Bytes in, bytes out of the same dtype.
const SIGNATURE: Signature = Signature {
    input: &[DType::quint8, DType::qint8],
    output: &[DType::quint8, DType::qint8],
    weight: &[],
    bias: &[],
    is_dynamic: false,
    weight_range: None,
    scale_min: None,
};

/// Every window has to start inside the padded input, as the last one does in ceil mode.
fn check_windows(geometry: &Geometry) -> Result<(), Refusal> {
    let padding = geometry.window.padding;
    for axis in 0..2 {
        let padded = geometry.input[axis] + padding[axis] + padding[axis + 2];
        let last = geometry.output[axis]
            .saturating_sub(1)
            .saturating_mul(geometry.window.stride[axis]);
        if geometry.output[axis] > 0 && last >= padded {
            return Err(Refusal::Shape(
                "an output position whose window starts behind the padded input",
            ));
        }
    }
    Ok(())
}

/// One unit an output position; a thread should have some 64 Ki taps.
fn split(geometry: &Geometry) -> Split {
    let [height, width] = geometry.window.kernel;
    let taps = (height * width).saturating_mul(geometry.channels).max(1);
    let units = if geometry.channels == 0 {
        0
    } else {
        geometry.pixels()
    };
    Split {
        units,
        unit_bytes: geometry.channels,
        output_bytes: geometry.pixels() * geometry.channels,
        grain: (1usize << 16).div_ceil(taps),
    }
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "32c__avx2",
        level if level.has_neon() => "16c__neon",
        _ => "1c__scalar",
    }
}
