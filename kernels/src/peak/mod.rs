//! The most that a CPU can do: what a profile holds a kernel against.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use qconfig_core::Isa;

/// Executes, `steps` times, a few of the instructions that integer products are made of at that level,
/// from registers alone and none waiting for another; returns how many multiply-adds that was, or 0 for a
/// level that has no such instruction. Timing it gives the peak of one core.
///
/// ```
/// use qconfig_core::Isa;
/// assert_eq!(qconfig_kernels::multiply_adds(Isa::SCALAR, 100), 0);
/// ```
pub fn multiply_adds(isa: Isa, steps: u32) -> u64 {
    if steps == 0 {
        return 0;
    }
    #[cfg(target_arch = "x86_64")]
    let each = x86::run(isa, steps);
    #[cfg(target_arch = "aarch64")]
    let each = neon::run(isa, steps);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let each = {
        let _ = isa;
        0
    };
    u64::from(steps) * each
}

/// Operations a second, two for each multiply-add, that one core of this machine can do at that level: the
/// best of a few milliseconds. `None` where [`multiply_adds`] knows no instruction.
#[cfg(feature = "std")]
pub fn peak(isa: Isa) -> Option<f64> {
    const STEPS: u32 = 100_000;
    let best = (0..16)
        .map(|_| {
            let start = std::time::Instant::now();
            let done = multiply_adds(isa, STEPS);
            2.0 * done as f64 / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max);
    (best > 0.0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_this_cpu_counts() {
        for isa in Isa::available() {
            let (one, many) = (multiply_adds(isa, 1), multiply_adds(isa, 1000));
            assert_eq!(many, 1000 * one, "{isa}");
            assert_eq!(one == 0, isa == Isa::SCALAR, "{isa}");
            assert_eq!(multiply_adds(isa, 0), 0, "{isa}");
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_peak_is_a_rate() {
        assert_eq!(peak(Isa::SCALAR), None);
        for isa in Isa::available().filter(|isa| *isa != Isa::SCALAR) {
            assert!(peak(isa).is_some_and(f64::is_finite), "{isa}");
        }
    }
}
