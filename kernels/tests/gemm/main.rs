//! Products against their formulas, on every instruction set to the bit.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod float;
mod quantized;

use qconfig_core::kernel::{BlobError, Call, Kernel, NodeSpec, Refusal};
use qconfig_core::{Isa, IsaLevel};

/// So many cases, or fewer where `QCONFIG_CASES` says so (under an emulator).
fn cases(all: usize) -> usize {
    let most = std::env::var("QCONFIG_CASES").ok();
    most.and_then(|most| most.parse().ok())
        .map_or(all, |most: usize| most.min(all))
}

/// The levels of this CPU, or the one that `QCONFIG_ISA` forces.
fn levels() -> Vec<Isa> {
    match std::env::var_os("QCONFIG_ISA") {
        None => Isa::available().collect(),
        Some(_) => vec![Isa::from_env().expect("QCONFIG_ISA names a level of this CPU")],
    }
}

/// A small generator of the same numbers every time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// In `0.0..1.0`.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn pack(kernel: &Kernel, node: &NodeSpec<'_>) -> Result<(Vec<u8>, usize), Refusal> {
    let sizes = (kernel.sizes)(node)?;
    let mut blob = vec![0xa5; sizes.blob];
    (kernel.pack)(node, &mut blob)?;
    Ok((blob, sizes.scratch))
}

/// Runs the units in so many calls, all buffers `shift` bytes off their alignment.
fn run(
    kernel: &Kernel,
    blob: &[u8],
    input: &[u8],
    scratch: usize,
    isa: Isa,
    parts: usize,
    shift: usize,
) -> Result<Vec<u8>, BlobError> {
    let split = (kernel.split)(blob, &[input.len()])?;
    let shifted = |bytes: &[u8]| [vec![0x5a; shift], bytes.to_vec()].concat();
    let (blob, input) = (shifted(blob), shifted(input));
    let mut output = vec![0xee; shift + split.output_bytes];
    let mut scratch = vec![0xcd; shift + scratch];
    for part in 0..parts {
        let units = split.units * part / parts..split.units * (part + 1) / parts;
        let bytes = split.bytes(&units);
        (kernel.run)(Call {
            blob: &blob[shift..],
            inputs: &[&input[shift..]],
            output: &mut output[shift..][bytes],
            units,
            scratch: &mut scratch[shift..],
            isa,
        })?;
    }
    Ok(output.split_off(shift))
}

#[test]
fn levels_that_this_cpu_lacks() {
    for level in IsaLevel::ALL {
        if Isa::require(*level).is_err() {
            println!("not run: {level} (this CPU lacks it)");
        }
    }
}
