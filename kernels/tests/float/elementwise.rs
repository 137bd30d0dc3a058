//! Functions of one value and of two, PReLU.

use qconfig_core::kernel::{Activation, Binary, KernelFamily, NodeOp, NodeSpec, Unary, WeightSpec};
use qconfig_kernels::{F32Binary, F32PRelu, F32Unary};

use crate::harness::{Rng, broadcast_shapes, cases};
use crate::{activated, activation, bytes, floats, hold, index, position, shape, spec};

fn right(function: Unary, x: f64) -> f64 {
    let relu6 = |x: f64| x.clamp(0.0, 6.0);
    match function {
        Unary::Hardswish => x * relu6(x + 3.0) / 6.0,
        Unary::Hardsigmoid => relu6(x + 3.0) / 6.0,
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Elu { alpha } if x < 0.0 => x.exp_m1() * f64::from(alpha),
        Unary::LeakyRelu { negative_slope } if x < 0.0 => x * f64::from(negative_slope),
        Unary::Elu { .. } | Unary::LeakyRelu { .. } => x,
        Unary::Gelu { tanh: true } => {
            0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)).tanh())
        }
        Unary::AddScalar { other } => x + other,
        Unary::MulScalar { other } => x * other,
        Unary::PowScalar { exponent } => x.powf(exponent),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Mish => x * x.exp().ln_1p().tanh(),
        Unary::Softplus { beta } => (f64::from(beta) * x).exp().ln_1p() / f64::from(beta),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => x.signum(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn functions_of_one_value() {
    let rng = &mut Rng::new(21);
    let any = [
        Unary::Hardswish,
        Unary::Hardsigmoid,
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Elu { alpha: 0.7 },
        Unary::LeakyRelu {
            negative_slope: 0.1,
        },
        Unary::Gelu { tanh: true },
        Unary::AddScalar { other: 0.3 },
        Unary::MulScalar { other: -1.7 },
        Unary::PowScalar { exponent: 2.0 },
        Unary::PowScalar { exponent: 3.0 },
        Unary::Silu,
        Unary::Mish,
        Unary::Softplus { beta: 1.5 },
        Unary::Softsign,
        Unary::Exp,
        Unary::Neg,
        Unary::Abs,
        Unary::Sign,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sin,
        Unary::Cos,
        Unary::Atan,
        Unary::Sinh,
        Unary::Cosh,
        Unary::Asinh,
    ];
    let positive = [
        Unary::PowScalar { exponent: 0.3 },
        Unary::Log,
        Unary::Sqrt,
        Unary::Rsqrt,
        Unary::Reciprocal,
    ];
    let small = [Unary::Asin, Unary::Acos, Unary::Atanh, Unary::Tan];
    for case in 0..cases(1500) {
        let (function, low, high) = match case % 4 {
            0 => (rng.pick(&positive), 0.05, 5.0),
            1 => (rng.pick(&small), -0.99, 0.99),
            _ => (rng.pick(&any), -9.0, 9.0),
        };
        let (function, low, high) = match case {
            0..10 => (Unary::Acosh, 1.0, 9.0),
            _ => (function, low, high),
        };
        let shape = if case < 3 {
            vec![9000]
        } else {
            shape(rng, 1..5)
        };
        let count = shape.iter().product();
        let x: Vec<f32> = (0..count)
            .map(|_| low + (high - low) * rng.unit())
            .collect();
        let activation = activation(rng);
        let expected: Vec<f64> = x
            .iter()
            .map(|x| activated(right(function, f64::from(*x)), activation))
            .collect();
        let inputs = [spec(&shape)];
        let node = NodeSpec {
            activation,
            ..NodeSpec::new(NodeOp::Unary(function), &inputs, spec(&shape))
        };
        hold(F32Unary::KERNEL, &node, &[bytes(&x)], &expected, 2e-6, rng);
    }
}

#[test]
fn activations_alone() {
    let rng = &mut Rng::new(22);
    for _ in 0..cases(200) {
        let shape = shape(rng, 1..5);
        let x = floats(rng, shape.iter().product());
        let activation = match activation(rng) {
            Activation::None => Activation::Relu,
            other => other,
        };
        let right: Vec<f64> = x
            .iter()
            .map(|x| activated(f64::from(*x), activation))
            .collect();
        let inputs = [spec(&shape)];
        let node = NodeSpec {
            activation,
            ..NodeSpec::new(NodeOp::Clamp, &inputs, spec(&shape))
        };
        hold(F32Unary::KERNEL, &node, &[bytes(&x)], &right, 0.0, rng);
    }
}

#[test]
fn functions_of_two_values() {
    let rng = &mut Rng::new(23);
    let truth = |holds: bool| f64::from(u8::from(holds));
    for case in 0..cases(1500) {
        let [a, b, to] = match case {
            0..3 => [vec![2, 5000], vec![5000], vec![2, 5000]],
            _ => broadcast_shapes(rng),
        };
        let (mut x, mut y) = (
            floats(rng, a.iter().product()),
            floats(rng, b.iter().product()),
        );
        // equal values for comparisons
        for value in x.iter_mut().chain(&mut y) {
            *value = (*value * 8.0).round() / 8.0 + 0.0;
        }
        let op = match rng.below(0..12) {
            0 => NodeOp::Add,
            1 => NodeOp::Mul,
            2 => NodeOp::Binary(Binary::Sub),
            3 => NodeOp::Binary(Binary::Div),
            4 => NodeOp::Binary(Binary::Pow),
            5 => NodeOp::Binary(Binary::Minimum),
            6 => NodeOp::Binary(Binary::Maximum),
            7 => NodeOp::Binary(Binary::Less),
            8 => NodeOp::Binary(Binary::LessEqual),
            9 => NodeOp::Binary(Binary::Greater),
            10 => NodeOp::Binary(Binary::GreaterEqual),
            _ => NodeOp::Binary(Binary::Equal),
        };
        if op == NodeOp::Binary(Binary::Pow) {
            x.iter_mut().for_each(|x| *x = x.abs() + 0.1);
        }
        if op == NodeOp::Binary(Binary::Div) {
            y.iter_mut()
                .for_each(|y| *y = if *y == 0.0 { 0.25 } else { *y });
        }
        let activation = activation(rng);
        let value = |values: &[f32], shape: &[usize], p: &[usize]| {
            let own = &p[p.len() - shape.len()..];
            let at: Vec<usize> = own.iter().zip(shape).map(|(at, size)| at % size).collect();
            f64::from(values[index(&at, shape)])
        };
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at| {
                let p = position(at, &to);
                let (a, b) = (value(&x, &a, &p), value(&y, &b, &p));
                let y = match op {
                    NodeOp::Add => a + b,
                    NodeOp::Mul => a * b,
                    NodeOp::Binary(Binary::Sub) => a - b,
                    NodeOp::Binary(Binary::Div) => a / b,
                    NodeOp::Binary(Binary::Pow) => a.powf(b),
                    NodeOp::Binary(Binary::Minimum) => a.min(b),
                    NodeOp::Binary(Binary::Maximum) => a.max(b),
                    NodeOp::Binary(Binary::Less) => truth(a < b),
                    NodeOp::Binary(Binary::LessEqual) => truth(a <= b),
                    NodeOp::Binary(Binary::Greater) => truth(a > b),
                    NodeOp::Binary(Binary::GreaterEqual) => truth(a >= b),
                    _ => truth(a == b),
                };
                activated(y, activation)
            })
            .collect();
        let inputs = [spec(&a), spec(&b)];
        let node = NodeSpec {
            activation,
            ..NodeSpec::new(op, &inputs, spec(&to))
        };
        hold(
            F32Binary::KERNEL,
            &node,
            &[bytes(&x), bytes(&y)],
            &right,
            2e-7,
            rng,
        );
    }
}

#[test]
fn slopes() {
    let rng = &mut Rng::new(24);
    for _ in 0..cases(500) {
        let shape = shape(rng, 1..5);
        let channels = *shape.last().unwrap();
        let x = floats(rng, shape.iter().product());
        let count = if rng.chance(2) { 1 } else { channels };
        let slopes = floats(rng, count);
        let slope = |at: usize| f64::from(slopes[at % channels % slopes.len()]);
        let values = x.iter().map(|x| f64::from(*x)).enumerate();
        let right: Vec<f64> = values
            .map(|(at, x)| if x > 0.0 { x } else { x * slope(at) })
            .collect();
        let (inputs, parameters) = ([spec(&shape)], [WeightSpec::float(&slopes)]);
        let node = NodeSpec {
            parameters: &parameters,
            ..NodeSpec::new(NodeOp::PRelu, &inputs, spec(&shape))
        };
        hold(F32PRelu::KERNEL, &node, &[bytes(&x)], &right, 2e-7, rng);
    }
}
