//! Products of two activations against their formula, the sum in 64 bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, KernelFamily, NodeOp, NodeSpec, QParams, Refusal, TensorSpec,
};
use qconfig_kernels::Q8MatMul;

struct Case {
    dtype: DType,
    a: QParams,
    b: QParams,
    to: QParams,
    activation: Activation,
    transposed: bool,
    /// Of both operands and the output.
    shapes: [Vec<usize>; 3],
}

/// Batch axes, rows, reduction length and columns; operands without batch may have one axis.
fn shapes(rng: &mut Rng, transposed: bool, [m, k, n]: [usize; 3]) -> [Vec<usize>; 3] {
    let [batch_a, batch_b, batch] = match rng.below(0..3) {
        0 => Default::default(),
        1 => {
            let size = vec![rng.below(1..5)];
            [size.clone(), size.clone(), size]
        }
        _ => {
            // small ones
            loop {
                let shapes = broadcast_shapes(rng);
                if shapes[2].iter().product::<usize>() < 30 {
                    break shapes;
                }
            }
        }
    };
    let right = if transposed { [n, k] } else { [k, n] };
    let mut shapes = [
        [batch_a.clone(), vec![m, k]].concat(),
        [batch_b.clone(), right.to_vec()].concat(),
        [batch.clone(), vec![m, n]].concat(),
    ];
    if m == 1 && batch_a.is_empty() && rng.chance(2) {
        shapes[0] = vec![k];
        shapes[2].remove(batch.len());
    }
    if n == 1 && batch_b.is_empty() && rng.chance(2) {
        shapes[1] = vec![k];
        shapes[2].pop();
    }
    if shapes[2].is_empty() {
        shapes[2].push(1);
    }
    shapes
}

fn random(rng: &mut Rng, sizes: [usize; 3]) -> Case {
    let dtype = rng.dtype();
    let transposed = rng.chance(2);
    let qparams = |rng: &mut Rng| QParams {
        scale: (rng.unit() * 6.0 - 7.0).exp2(),
        zero_point: if rng.chance(3) {
            128 - flip(dtype)
        } else {
            rng.zero_point(dtype)
        },
    };
    let (a, b) = (qparams(rng), qparams(rng));
    let spread = 60.0 * (sizes[1] as f32).sqrt() * (0.2 + 2.0 * rng.unit());
    let to = QParams {
        scale: a.scale * b.scale * spread,
        zero_point: rng.zero_point(dtype),
    };
    Case {
        dtype,
        a,
        b,
        to,
        activation: rng.activation(to.scale),
        transposed,
        shapes: shapes(rng, transposed, sizes),
    }
}

impl Case {
    /// Batch axes of an operand, and the values of each matrix of the output's batch.
    fn matrices(&self, operand: usize, values: &[u8], batch: &[usize]) -> Vec<Vec<i64>> {
        let shape = &self.shapes[operand];
        let split = shape.len().saturating_sub(2);
        let (own, size) = if shape.len() < 2 {
            (&[][..], shape[0])
        } else {
            (&shape[..split], shape[split] * shape[split + 1])
        };
        let qparams = [self.a, self.b][operand];
        let zero_point = i64::from(qparams.zero_point + flip(self.dtype));
        let count: usize = own.iter().product();
        let indices: Vec<u8> = (0..count as u8).collect();
        broadcast(&indices, own, batch)
            .into_iter()
            .map(|index| {
                let matrix = &values[usize::from(index) * size..][..size];
                matrix.iter().map(|q| i64::from(*q) - zero_point).collect()
            })
            .collect()
    }

    fn oracle(&self, [m, k, n]: [usize; 3], a: &[u8], b: &[u8]) -> Vec<u8> {
        let taken = usize::from(self.shapes[0].len() > 1) + usize::from(self.shapes[1].len() > 1);
        let batch = &self.shapes[2][..self.shapes[2].len() - taken];
        let batch = if taken == 0 { &[] } else { batch };
        let multiplier = (self.a.scale * self.b.scale) * (1.0 / self.to.scale);
        let zero_point = self.to.zero_point + flip(self.dtype);
        let (a, b) = (self.matrices(0, a, batch), self.matrices(1, b, batch));
        let mut out = Vec::new();
        for (a, b) in a.iter().zip(&b) {
            for row in 0..m {
                for column in 0..n {
                    let sum: i64 = (0..k)
                        .map(|i| {
                            let at = if self.transposed {
                                column * k + i
                            } else {
                                i * n + column
                            };
                            a[row * k + i] * b[at]
                        })
                        .sum();
                    let sum = i32::try_from(sum).expect("the reduction is short enough");
                    let scaled = f64::from(sum as f32 * multiplier).round_ties_even();
                    let q = (scaled + f64::from(zero_point)).clamp(0.0, 255.0) as u8;
                    out.push(activate(q, self.activation, self.to.scale, zero_point));
                }
            }
        }
        out
    }

    fn with(&self, f: impl FnOnce(&NodeSpec<'_>)) {
        let [a, b, y] = &self.shapes;
        let inputs = [
            tensor(self.dtype, a, Some(self.a)),
            tensor(self.dtype, b, Some(self.b)),
        ];
        let op = NodeOp::MatMul {
            transposed: self.transposed,
        };
        let to = tensor(self.dtype, y, Some(self.to));
        f(&node(op, self.activation, &inputs, to));
    }

    fn bytes(&self, rng: &mut Rng) -> [Vec<u8>; 2] {
        [0, 1].map(|operand| rng.bytes(self.shapes[operand].iter().product()))
    }

    fn run(&self, sizes: [usize; 3], [a, b]: [Vec<u8>; 2], rng: &mut Rng) {
        let expected = self.oracle(sizes, &a, &b);
        self.with(|spec| check(Q8MatMul::KERNEL, spec, &[a, b], &expected, rng));
    }
}

fn size(rng: &mut Rng) -> usize {
    match rng.below(0..4) {
        0 => rng.below(1..4),
        1 => rng.below(1..80),
        _ => rng.below(1..24),
    }
}

#[test]
fn products_equal_their_formula() {
    report();
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let sizes = [size(rng), size(rng), size(rng)];
        let case = random(rng, sizes);
        let bytes = case.bytes(rng);
        case.run(sizes, bytes, rng);
    }
}

/// More rows than a block has, more columns than are packed at once.
#[test]
fn large_products_equal_their_formula() {
    for (seed, sizes) in [
        [200, 64, 200],
        [97, 300, 70],
        [3, 2_100, 130],
        [1, 700, 400],
        [130, 33, 65],
    ]
    .into_iter()
    .enumerate()
    {
        for turn in 0..cases(4) {
            let rng = &mut Rng::new(seed as u64 * 10 + turn);
            let case = random(rng, sizes);
            let bytes = case.bytes(rng);
            case.run(sizes, bytes, rng);
        }
    }
}

/// Every product at an end of its range, with as many of them as an accumulator holds.
#[test]
fn the_longest_sums_do_not_overflow() {
    let k = 33_025;
    for (seed, (za, zb, a, b)) in [
        (0, 0, 255, 255),
        (255, 0, 0, 255),
        (255, 255, 0, 0),
        (0, 255, 255, 0),
    ]
    .into_iter()
    .enumerate()
    {
        for transposed in [false, true] {
            let rng = &mut Rng::new(seed as u64);
            let dtype = DType::quint8;
            let one = |zero_point| QParams {
                scale: 1.0,
                zero_point,
            };
            let sizes @ [m, _, n] = [7, k, 18];
            let case = Case {
                dtype,
                a: one(za),
                b: one(zb),
                to: QParams {
                    scale: 1.7e7,
                    zero_point: 128,
                },
                activation: Activation::None,
                transposed,
                shapes: [
                    vec![m, k],
                    if transposed { vec![n, k] } else { vec![k, n] },
                    vec![m, n],
                ],
            };
            case.run(sizes, [vec![a; m * k], vec![b; k * n]], rng);
        }
    }
}

#[test]
fn any_bytes_are_safe() {
    for seed in 0..cases(60) {
        let rng = &mut Rng::new(seed);
        let sizes = [size(rng), size(rng), size(rng)];
        let case = random(rng, sizes);
        let bytes = case.bytes(rng);
        case.with(|spec| attack_all(Q8MatMul::KERNEL, spec, &bytes, rng));
    }
}

#[test]
fn what_it_cannot_take_is_refused() {
    let qparams = Some(QParams {
        scale: 0.1,
        zero_point: 3,
    });
    let refusal = |a: &[usize], b: &[usize], y: &[usize], dtype: DType, scale: f32| {
        let to = Some(QParams {
            scale,
            zero_point: 0,
        });
        let inputs: [TensorSpec<'_>; 2] = [
            tensor(DType::quint8, a, qparams),
            tensor(DType::quint8, b, qparams),
        ];
        let op = NodeOp::MatMul { transposed: false };
        let spec = node(op, Activation::None, &inputs, tensor(dtype, y, to));
        (Q8MatMul::KERNEL.sizes)(&spec).unwrap_err()
    };
    let (u8, unfit) = (
        DType::quint8,
        Refusal::Shape("the shapes of both operands and the output do not fit each other"),
    );
    assert_eq!(refusal(&[2, 3], &[4, 5], &[2, 5], u8, 1.0), unfit);
    assert_eq!(refusal(&[2, 3], &[3, 5], &[5, 2], u8, 1.0), unfit);
    assert_eq!(
        refusal(&[3], &[3], &[2], u8, 1.0),
        Refusal::Shape("the operands do not broadcast to the output's shape")
    );
    assert_eq!(
        refusal(&[2, 33_026], &[33_026, 1], &[2, 1], u8, 1.0),
        Refusal::Accumulator {
            k: 33_026,
            max: 33_025
        }
    );
    assert_eq!(
        refusal(&[2, 3], &[3, 5], &[2, 5], DType::qint8, 1.0),
        Refusal::DType {
            place: "input",
            dtype: u8
        }
    );
    assert!(matches!(
        refusal(&[2, 3], &[3, 5], &[2, 5], u8, f32::MAX),
        Refusal::Scale { .. }
    ));
}
