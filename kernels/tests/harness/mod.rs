//! Runs a kernel on every instruction set of this machine, whole and in parts, from and to addresses of
//! every alignment, and holds each result against the bytes that an oracle computed.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ops::Range;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, NodeOp, NodeSpec, QParams, Split, TensorSpec,
};
use qconfig_core::{DType, Isa, IsaLevel};

/// So many cases, or fewer where `QCONFIG_CASES` says so (under an emulator).
pub(crate) fn cases(all: u64) -> u64 {
    let most = std::env::var("QCONFIG_CASES").ok();
    most.and_then(|most| most.parse().ok())
        .map_or(all, |most: u64| most.min(all))
}

/// xorshift64*: fast, and the same numbers everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, range: Range<usize>) -> usize {
        range.start + self.bits() as usize % (range.end - range.start)
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(0..one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(0..from.len())]
    }

    /// In `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() % (1 << 24)) as f32 / (1 << 24) as f32
    }

    /// Mostly of the size models have, at times at the end of what f32 holds.
    pub(crate) fn scale(&mut self) -> f32 {
        match self.below(0..12) {
            0 => self.pick(&[f32::MIN_POSITIVE, 1e-30, 1e-9, 1e9, 1e30, f32::MAX]),
            1 => self.pick(&[0.5, 1.0, 0.25, 2.0, 1.0 / 256.0]),
            _ => (self.unit() * 8.0 - 8.0).exp2() * (1.0 + self.unit()),
        }
    }

    pub(crate) fn dtype(&mut self) -> DType {
        self.pick(&[DType::quint8, DType::qint8])
    }

    /// Of that dtype, the ends more often than their share.
    pub(crate) fn zero_point(&mut self, dtype: DType) -> i32 {
        let stored = match self.below(0..6) {
            0 => 0,
            1 => 255,
            2 => 128,
            _ => self.below(0..256) as i32,
        };
        stored - flip(dtype)
    }

    pub(crate) fn qparams(&mut self, dtype: DType) -> QParams {
        QParams {
            scale: self.scale(),
            zero_point: self.zero_point(dtype),
        }
    }

    pub(crate) fn activation(&mut self, scale: f32) -> Activation {
        match self.below(0..3) {
            0 => Activation::None,
            1 => Activation::Relu,
            _ => Activation::Clamp {
                low: scale * (self.unit() * 100.0 - 80.0),
                high: scale * (self.unit() * 100.0 + 10.0),
            },
        }
    }

    /// Random bytes, or only the ends of the range.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let extreme = self.chance(8);
        (0..len)
            .map(|_| {
                if extreme {
                    self.pick(&[0, 255])
                } else {
                    self.bits() as u8
                }
            })
            .collect()
    }
}

/// A scaled sum as FBGEMM has it: the bias in floats, where each channel has a scale divided by what a step of
/// the sum is, else multiplied by the reciprocal.
pub(crate) fn fbgemm_scaled(sum: i64, bias: f32, [sa, sw, so]: [f32; 3], per_channel: bool) -> f32 {
    let step = sa * sw;
    let bias = if per_channel {
        bias / step
    } else {
        bias * (1.0 / f64::from(step)) as f32
    };
    (sum as i32 as f32 + bias) * (step / so)
}

/// What stored bytes of that dtype lie above its values.
pub(crate) fn flip(dtype: DType) -> i32 {
    if dtype == DType::qint8 { 128 } else { 0 }
}

pub(crate) fn tensor<'a>(
    dtype: DType,
    shape: &'a [usize],
    qparams: Option<QParams>,
) -> TensorSpec<'a> {
    TensorSpec {
        dtype,
        shape,
        qparams,
    }
}

pub(crate) fn node<'a>(
    op: NodeOp,
    activation: Activation,
    inputs: &'a [TensorSpec<'a>],
    output: TensorSpec<'a>,
) -> NodeSpec<'a> {
    NodeSpec {
        op,
        activation,
        inputs,
        output,
        weight: None,
        bias: None,
        parameters: &[],
        reduce_range: false,
        divide: false,
    }
}

pub(crate) fn pack(kernel: &Kernel, spec: &NodeSpec<'_>) -> Vec<u8> {
    let sizes = (kernel.sizes)(spec).expect("the kernel takes this node");
    let mut blob = vec![0xA5; sizes.blob];
    (kernel.pack)(spec, &mut blob).expect("what `sizes` takes, `pack` takes");
    blob
}

/// Bytes at an address of a chosen alignment, between guards.
struct Placed {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

const GUARD: usize = 64;

impl Placed {
    fn new(bytes: &[u8], offset: usize) -> Self {
        let (mut memory, start);
        if std::env::var_os("QCONFIG_EDGES").is_some() {
            // they end where their memory does, so that AddressSanitizer sees a read beyond them too
            start = GUARD + offset % 64;
            memory = vec![0xCD; start + bytes.len()];
        } else {
            memory = vec![0xCD; bytes.len() + 2 * GUARD + 64];
            let aligned = GUARD + (memory.as_ptr() as usize).wrapping_neg() % 64;
            start = (aligned + offset % 64).min(memory.len() - bytes.len() - GUARD);
        }
        memory[start..][..bytes.len()].copy_from_slice(bytes);
        Self {
            memory,
            start,
            len: bytes.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }

    fn guarded(&self) -> bool {
        let outside = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xCD);
        outside(&self.memory[..self.start]) && outside(&self.memory[self.start + self.len..])
    }
}

/// The levels of this CPU, or the one that `QCONFIG_ISA` forces.
pub(crate) fn levels() -> Vec<Isa> {
    match std::env::var_os("QCONFIG_ISA") {
        None => Isa::available().collect(),
        Some(_) => vec![Isa::from_env().expect("QCONFIG_ISA names a level of this CPU")],
    }
}

/// Runs the node on every instruction set, in 1, 2, 3 and 8 parts, at random alignments.
pub(crate) fn check(
    kernel: &Kernel,
    spec: &NodeSpec<'_>,
    inputs: &[Vec<u8>],
    expected: &[u8],
    rng: &mut Rng,
) {
    let blob = pack(kernel, spec);
    let scratch = (kernel.sizes)(spec).expect("as before").scratch;
    let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let split = (kernel.split)(&blob, &lengths).expect("a blob fits its own node");
    assert_eq!(
        split.output_bytes,
        expected.len(),
        "output length of {spec:?}"
    );
    assert_eq!(
        split.bytes(&(0..split.units)),
        0..expected.len(),
        "units cover the output of {spec:?}"
    );
    for isa in levels() {
        let parts = rng.pick(&[1, 2, 3, 8]);
        let inputs: Vec<Placed> = inputs
            .iter()
            .map(|bytes| Placed::new(bytes, rng.below(0..64)))
            .collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Placed::bytes).collect();
        let mut found = Vec::new();
        for part in 0..parts {
            let units = split.units * part / parts..split.units * (part + 1) / parts;
            let mut output = Placed::new(&vec![0xEE; split.bytes(&units).len()], rng.below(0..64));
            let mut scratch = Placed::new(&vec![0xBB; scratch], rng.below(0..64));
            let call = Call {
                blob: &blob,
                inputs: &inputs,
                output: output.bytes_mut(),
                units,
                scratch: scratch.bytes_mut(),
                isa,
            };
            (kernel.run)(call).expect("a valid call");
            assert!(
                output.guarded() && scratch.guarded(),
                "{isa} wrote outside its buffers: {spec:?}"
            );
            found.extend_from_slice(output.bytes());
        }
        if found != expected {
            let at = found.iter().zip(expected).position(|(a, b)| a != b);
            let at = at.expect("the lengths are equal");
            panic!(
                "{isa} ({}) in {parts} parts: byte {at} is {}, not {}: {spec:?}",
                (kernel.variant)(&blob, isa),
                found[at],
                expected[at]
            );
        }
    }
}

/// Runs whatever the bytes say, as far as memory for the output can be had: errors are fine, panics and
/// writes outside are not.
pub(crate) fn attack(
    kernel: &Kernel,
    blob: &[u8],
    inputs: &[Vec<u8>],
    scratch: usize,
    output: usize,
) {
    let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let split: Result<Split, BlobError> = (kernel.split)(blob, &lengths);
    let (units, output) = match split {
        Ok(split) if split.output_bytes <= 1 << 16 => (0..split.units, split.output_bytes),
        _ => (0..1, output),
    };
    for isa in levels() {
        let _ = (kernel.variant)(blob, isa);
        let reversed = Range {
            start: units.end,
            end: units.start,
        };
        for units in [
            units.clone(),
            reversed,
            0..usize::MAX,
            usize::MAX..usize::MAX,
        ] {
            let mut bytes = Placed::new(&vec![0; output], 1);
            let mut scratch = Placed::new(&vec![0; scratch], 1);
            let (output, scratch) = (bytes.bytes_mut(), scratch.bytes_mut());
            let _ = (kernel.run)(Call {
                blob,
                inputs: &inputs,
                output,
                units,
                scratch,
                isa,
            });
            assert!(bytes.guarded(), "{isa} wrote outside the output");
        }
    }
}

/// Damages a good blob in many ways and attacks with each; buffers of the wrong length too.
pub(crate) fn attack_all(kernel: &Kernel, spec: &NodeSpec<'_>, inputs: &[Vec<u8>], rng: &mut Rng) {
    let good = pack(kernel, spec);
    let sizes = (kernel.sizes)(spec).expect("as before");
    let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let output = (kernel.split)(&good, &lengths)
        .expect("a good blob")
        .output_bytes;
    for _ in 0..40 {
        let mut blob = good.clone();
        for _ in 0..rng.below(1..4) {
            let word = 4 * rng.below(0..blob.len().min(128) / 4);
            let value = rng.pick(&[
                0,
                1,
                2,
                255,
                256,
                1 << 16,
                (1 << 31) - 1,
                1 << 31,
                u32::MAX,
                u32::MAX - 1,
                rng.0 as u32,
            ]);
            blob[word..word + 4].copy_from_slice(&value.to_le_bytes());
        }
        if rng.chance(2) {
            blob[..4].copy_from_slice(&good[..4]);
        }
        attack(kernel, &blob, inputs, sizes.scratch, output);
    }
    for cut in [0, 1, 3, 4, 63, 64, good.len() / 2, good.len() - 1] {
        let blob = &good[..cut.min(good.len())];
        if blob.len() < good.len() {
            assert!(
                (kernel.split)(blob, &lengths).is_err(),
                "a blob cut to {cut} bytes was taken"
            );
        }
        attack(kernel, blob, inputs, sizes.scratch, output);
    }
    attack(
        kernel,
        &[good.as_slice(), &[0]].concat(),
        inputs,
        sizes.scratch,
        output,
    );
    attack(kernel, &good, inputs, sizes.scratch, output + 1);
    if sizes.scratch > 0 {
        attack(kernel, &good, inputs, sizes.scratch - 1, output);
    }
    attack(kernel, &good, &[], sizes.scratch, output);
    for input in 0..inputs.len() {
        let mut short = inputs.to_vec();
        short[input].pop();
        attack(kernel, &good, &short, sizes.scratch, output);
    }
}

/// Says which instruction sets are not tested here.
pub(crate) fn report() {
    for level in IsaLevel::ALL {
        if levels().iter().all(|isa| isa.level() != *level) {
            println!("not run: {level}");
        }
    }
}

/// `clamp(rne(x * (1 / scale)) + zero_point)` on stored bytes, in arithmetic wide enough to be plain.
pub(crate) fn quantize(x: f32, scale: f32, stored_zero_point: i32) -> u8 {
    let scaled = x * (1.0 / scale);
    if scaled.is_nan() {
        return stored_zero_point as u8;
    }
    (f64::from(scaled).round_ties_even() + f64::from(stored_zero_point)).clamp(0.0, 255.0) as u8
}

/// Applies an activation to a stored byte.
pub(crate) fn activate(q: u8, activation: Activation, scale: f32, stored_zero_point: i32) -> u8 {
    match activation {
        Activation::None => q,
        Activation::Relu => q.max(stored_zero_point as u8),
        Activation::Clamp { low, high } => {
            let (low, high) = (
                quantize(low, scale, stored_zero_point),
                quantize(high, scale, stored_zero_point),
            );
            q.max(low).min(high)
        }
    }
}

/// A shape of up to six axes, and two that broadcast to it.
pub(crate) fn broadcast_shapes(rng: &mut Rng) -> [Vec<usize>; 3] {
    let rank = rng.below(1..7);
    let most = if rank < 4 { 40 } else { 7 };
    let mut shapes: [Vec<usize>; 3] = Default::default();
    for _ in 0..rank {
        let size = if rng.chance(5) { 1 } else { rng.below(1..most) };
        let one = rng.below(0..4);
        shapes[0].push(if one == 0 { 1 } else { size });
        shapes[1].push(if one == 1 { 1 } else { size });
        shapes[2].push(size);
    }
    // leading ones may be left out
    for at in 0..2 {
        while rng.chance(2) && shapes[at].first() == Some(&1) && shapes[1 - at].len() == rank {
            shapes[at].remove(0);
        }
    }
    shapes
}

/// The values of an operand for every element of the output.
pub(crate) fn broadcast(values: &[u8], shape: &[usize], to: &[usize]) -> Vec<u8> {
    (0..to.iter().product())
        .map(|at: usize| {
            let (mut at, mut index, mut stride) = (at, 0, 1);
            for (i, size) in to.iter().rev().enumerate() {
                let own = shape.len().checked_sub(i + 1).map_or(1, |axis| shape[axis]);
                index += at % size % own * stride;
                stride *= own;
                at /= size;
            }
            values[index]
        })
        .collect()
}
