//! Quantization parameters from a range.

use crate::affine::Stored;

/// Scales below this are raised to it: the least normal `float16`, about.
const SMALLEST: f32 = 6.1e-5;

/// FBGEMM's `ChooseQuantizationParams` for `quint8` (7 bits with `reduce_range`), where
/// `least <= 0 <= greatest`, both finite.
pub(super) fn choose(least: f32, greatest: f32, reduce_range: bool) -> Stored {
    let qmax = if reduce_range { 127.0 } else { 255.0 };
    let (mut least, mut greatest) = (least, greatest);
    let mut scale = (f64::from(greatest) - f64::from(least)) / qmax;
    if scale as f32 == 0.0 || (1.0 / scale as f32).is_infinite() {
        scale = 0.1;
    }
    if scale < f64::from(SMALLEST) {
        let amplifier = SMALLEST / scale as f32;
        scale = f64::from(SMALLEST);
        if least == 0.0 {
            greatest = SMALLEST * qmax as f32;
        } else if greatest == 0.0 {
            least = -SMALLEST * qmax as f32;
        } else {
            least *= amplifier;
            greatest *= amplifier;
        }
    }
    // the zero point from the end whose terms are smaller
    let (below, above) = (f64::from(least) / scale, f64::from(greatest) / scale);
    let zero_point = if below.abs() < qmax + above.abs() {
        -below
    } else {
        qmax - above
    };
    Stored {
        scale: scale as f32,
        zero_point: nearest(zero_point.clamp(0.0, qmax)),
    }
}

/// To nearest, ties to even, for `0.0..2^52`.
fn nearest(x: f64) -> i32 {
    const INTEGRAL: f64 = 4_503_599_627_370_496.0;
    ((x + INTEGRAL) - INTEGRAL) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_a_tenth() {
        let qparams = choose(0.0, 0.0, false);
        assert_eq!((qparams.scale, qparams.zero_point), (0.1, 0));
    }

    #[test]
    fn ends_are_hit() {
        let qparams = choose(-1.0, 1.55, false);
        assert_eq!((qparams.scale, qparams.zero_point), (0.01, 100));
        let qparams = choose(-2.55, 0.0, false);
        assert_eq!((qparams.scale, qparams.zero_point), (0.01, 255));
        let qparams = choose(-0.5, 0.77, true);
        assert_eq!((qparams.scale, qparams.zero_point), (0.01, 50));
    }

    #[test]
    fn small_ranges_are_widened() {
        let qparams = choose(-1e-6, 1e-6, false);
        assert_eq!((qparams.scale, qparams.zero_point), (SMALLEST, 128));
        let qparams = choose(-1e-6, 0.0, false);
        assert_eq!((qparams.scale, qparams.zero_point), (SMALLEST, 255));
    }

    #[test]
    fn the_widest_range_is_finite() {
        let qparams = choose(f32::MIN, f32::MAX, false);
        assert!(qparams.scale.is_finite());
        assert_eq!(qparams.zero_point, 128);
    }
}
