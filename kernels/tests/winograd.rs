//! 3 x 3 convolutions, which are made from tiles on some instruction sets, against plain sums.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, WeightData, WeightSpec, Window,
};
use qconfig_core::{DType, Isa, IsaLevel};
use qconfig_kernels::{Q8Conv, fbgemm};

/// A 3 x 3 convolution with its data.
struct Case {
    /// `[N, H, W, C]`.
    input: [usize; 4],
    outputs: usize,
    /// `[top, left, bottom, right]`.
    padding: [usize; 4],
    dtype: DType,
    from: QParams,
    to: QParams,
    activation: Activation,
    weight: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    data: Vec<u8>,
    /// Whether the kernel is the one with FBGEMM's numerics.
    fbgemm: bool,
}

impl Case {
    fn output(&self) -> [usize; 4] {
        let [n, h, w, _] = self.input;
        let [top, left, bottom, right] = self.padding;
        [n, h + top + bottom - 2, w + left + right - 2, self.outputs]
    }

    fn kernel(&self) -> &'static Kernel {
        if self.fbgemm {
            fbgemm::Q8Conv::KERNEL
        } else {
            Q8Conv::KERNEL
        }
    }

    /// The bytes, by the formula and 64-bit sums.
    fn expected(&self) -> Vec<u8> {
        let ([_, h, w, c], [n, oh, ow, outputs]) = (self.input, self.output());
        let [top, left, ..] = self.padding;
        let flip = flip(self.dtype);
        let (za, zo) = (self.from.zero_point + flip, self.to.zero_point + flip);
        let mut bytes = Vec::new();
        for (image, y, x) in
            (0..n).flat_map(|i| (0..oh).flat_map(move |y| (0..ow).map(move |x| (i, y, x))))
        {
            for o in 0..outputs {
                let mut sum = 0i64;
                for (ky, kx) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                    let (Some(y), Some(x)) =
                        ((y + ky).checked_sub(top), (x + kx).checked_sub(left))
                    else {
                        continue;
                    };
                    if y >= h || x >= w {
                        continue;
                    }
                    let pixel = ((image * h + y) * w + x) * c;
                    let row = ((o * 3 + ky) * 3 + kx) * c;
                    for i in 0..c {
                        sum += i64::from(i32::from(self.data[pixel + i]) - za)
                            * i64::from(self.weight[row + i]);
                    }
                }
                let scale = self.scales[o % self.scales.len()];
                let scaled = if self.fbgemm {
                    let scales = [self.from.scale, scale, self.to.scale];
                    fbgemm_scaled(sum, self.bias[o], scales, self.scales.len() > 1)
                } else {
                    let product = (f64::from(scale) * f64::from(self.from.scale)) as f32;
                    let bias = (self.bias[o] * (1.0 / product)).round_ties_even();
                    let acc = (sum + bias as i64) as i32;
                    acc as f32 * ((scale * self.from.scale) * (1.0 / self.to.scale))
                };
                let rounded = f64::from(scaled.round_ties_even());
                let q = (rounded + f64::from(zo)).clamp(0.0, 255.0) as u8;
                bytes.push(activate(q, self.activation, self.to.scale, zo));
            }
        }
        bytes
    }

    fn check(&self, rng: &mut Rng) -> &'static str {
        let (input, output) = (self.input, self.output());
        let inputs = [tensor(self.dtype, &input, Some(self.from))];
        let zero_points = vec![0; self.scales.len()];
        let shape = [self.outputs, 3, 3, self.input[3]];
        let window = Window {
            kernel: [3; 2],
            stride: [1; 2],
            padding: self.padding,
            dilation: [1; 2],
        };
        let spec = NodeSpec {
            activation: self.activation,
            weight: Some(WeightSpec {
                dtype: DType::qint8,
                shape: &shape,
                data: WeightData::I8(&self.weight),
                scales: &self.scales,
                zero_points: &zero_points,
            }),
            bias: Some(&self.bias),
            ..NodeSpec::new(
                NodeOp::Conv { window, groups: 1 },
                &inputs,
                tensor(self.dtype, &output, Some(self.to)),
            )
        };
        check(
            self.kernel(),
            &spec,
            std::slice::from_ref(&self.data),
            &self.expected(),
            rng,
        );
        let blob = pack(self.kernel(), &spec);
        Isa::require(IsaLevel::Avx2).map_or("", |isa| (self.kernel().variant)(&blob, isa))
    }
}

fn case(rng: &mut Rng, channels: usize) -> Case {
    let dtype = rng.dtype();
    let padding: [usize; 4] = std::array::from_fn(|_| rng.below(0..3));
    // a window fits, and mostly some tiles
    let (h, w) = (rng.below(3..20), rng.below(3..20));
    let input = [rng.below(1..3), h, w, channels];
    let outputs = rng.below(1..40);
    let extreme = rng.chance(4);
    let weight = (0..outputs * 9 * channels)
        .map(|_| {
            if extreme {
                rng.pick(&[-128, 127])
            } else {
                rng.bits() as i8
            }
        })
        .collect();
    let per_channel = rng.chance(2);
    let scales = (0..if per_channel { outputs } else { 1 })
        .map(|_| 0.002 + 0.01 * rng.unit())
        .collect();
    let from = QParams {
        scale: 0.02,
        zero_point: rng.zero_point(dtype),
    };
    let to = QParams {
        scale: 0.5 + 4.0 * rng.unit(),
        zero_point: rng.zero_point(dtype),
    };
    Case {
        input,
        outputs,
        padding,
        dtype,
        from,
        to,
        activation: rng.activation(to.scale),
        weight,
        scales,
        bias: (0..outputs).map(|_| rng.unit() * 8.0 - 4.0).collect(),
        data: rng.bytes(input.iter().product()),
        fbgemm: rng.chance(2),
    }
}

#[test]
fn tiles_equal_plain_sums() {
    report();
    let mut tiles = 0;
    let all = cases(2_000);
    for seed in 0..all {
        let rng = &mut Rng::new(seed);
        let channels = rng.pick(&[4, 8, 12, 16, 16, 20, 24, 28, 32, 36, 48]);
        tiles += u64::from(case(rng, channels).check(rng) == "f4x4_6x16__avx2");
    }
    if Isa::require(IsaLevel::Avx2).is_ok() {
        assert!(
            tiles * 4 > all,
            "only {tiles} of {all} cases were made from tiles"
        );
    }
}

#[test]
fn sums_that_tiles_could_not_hold_are_computed_tap_by_tap() {
    // 255 * 127 * 9 * c reaches 2^25 between c = 112 and c = 116
    for (channels, variant) in [(112, "f4x4_6x16__avx2"), (116, "6x16c2__avx2")] {
        for weight in [127, -127] {
            let rng = &mut Rng::new(channels as u64);
            let mut case = case(rng, channels);
            case.input = [1, 9, 11, channels];
            case.padding = [1; 4];
            case.weight.fill(0);
            case.weight.resize(case.outputs * 9 * channels, weight);
            case.weight.fill(weight);
            case.data = vec![255; 99 * channels];
            case.to.scale = 60.0;
            let found = case.check(rng);
            assert!(
                found == variant || Isa::require(IsaLevel::Avx2).is_err(),
                "{found} for {channels} channels"
            );
        }
    }
}
