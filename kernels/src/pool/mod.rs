//! Maximum and mean over windows, and means over whole axes.

mod adaptive;
mod average;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod axes;
mod float;
mod float_adaptive;
mod global;
mod max;
mod mean;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;
mod windows;

use qconfig_core::kernel::{Signature, Split};
use qconfig_core::{DType, Isa};

pub use adaptive::Q8AdaptiveAvgPool;
pub use average::Q8AvgPool;
pub use axes::Q8Mean;
pub use float::F32Pool;
pub use float_adaptive::F32AdaptiveAvgPool;
pub use global::Q8GlobalAvgPool;
pub use max::Q8MaxPool;

use windows::Windows;

/// Bytes in, bytes out of the same dtype.
const SIGNATURE: Signature = Signature::activations(
    &[DType::quint8, DType::qint8],
    &[DType::quint8, DType::qint8],
);

/// One unit an output position; a thread should have some 64 Ki taps.
fn split(windows: &Windows) -> Split {
    let channels = windows.plane.channels;
    let taps = windows.kernel_cells().saturating_mul(channels).max(1);
    let units = if channels == 0 { 0 } else { windows.pixels() };
    Split {
        units,
        unit_bytes: channels,
        output_bytes: windows.pixels() * channels,
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
