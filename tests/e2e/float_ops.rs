//! Operators that no backend has a pattern for, and constants, in float; a constant beside quantized values.

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::{Binary, Padding, Reduction, Unary};
use qconfig_core::{DType, QConfig, QConfigMapping};
use qconfig_quantize::{
    Conv, Decision, FloatReason, Graph, GraphBuilder, GraphError, Movement, Op, Pool, Tensor,
    ValueId, prepare,
};

use crate::flow::{check, flow, noise};

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), values.to_vec()).unwrap()
}

/// The graph of one node over one input.
fn one(
    shape: &[usize],
    node: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
) -> Result<Graph, GraphError> {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", shape)?;
    let y = node(&mut graph, x)?;
    graph.finish(&[y])
}

fn run(
    x: &Tensor,
    node: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
) -> Tensor {
    let graph = one(x.shape(), node).unwrap();
    graph.run(std::slice::from_ref(x)).unwrap().remove(0)
}

#[test]
fn functions_of_two_tensors() {
    let x = tensor(&[2, 2], &[1.0, -2.0, 3.0, 0.5]);
    let other = || tensor(&[2], &[2.0, 0.5]);
    for (function, expected) in [
        (Binary::Sub, [-1.0, -2.5, 1.0, 0.0]),
        (Binary::Div, [0.5, -4.0, 1.5, 1.0]),
        (Binary::Minimum, [1.0, -2.0, 2.0, 0.5]),
        (Binary::Maximum, [2.0, 0.5, 3.0, 0.5]),
        (Binary::Less, [1.0, 1.0, 0.0, 0.0]),
        (Binary::LessEqual, [1.0, 1.0, 0.0, 1.0]),
        (Binary::Greater, [0.0, 0.0, 1.0, 0.0]),
        (Binary::GreaterEqual, [0.0, 0.0, 1.0, 1.0]),
        (Binary::Equal, [0.0, 0.0, 0.0, 1.0]),
    ] {
        let y = run(&x, |graph, x| {
            let c = graph.constant("c", other())?;
            graph.binary("y", x, c, function)
        });
        assert_eq!(y.data(), expected, "{function:?}");
    }
    let y = run(&tensor(&[2], &[2.0, 9.0]), |graph, x| {
        let c = graph.constant("c", tensor(&[1], &[0.5]))?;
        graph.binary("y", x, c, Binary::Pow)
    });
    assert_eq!(y.data(), [2.0f32.sqrt(), 3.0]);
}

#[test]
fn reductions() {
    let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, -4.0, 5.0, 0.5]);
    for (reduction, rows, columns) in [
        (Reduction::Sum, [6.0, 1.5], [-3.0, 7.0, 3.5]),
        (Reduction::Prod, [6.0, -10.0], [-4.0, 10.0, 1.5]),
        (Reduction::Min, [1.0, -4.0], [-4.0, 2.0, 0.5]),
        (Reduction::Max, [3.0, 5.0], [1.0, 5.0, 3.0]),
    ] {
        let y = run(&x, |graph, x| graph.reduce("y", x, reduction, &[1], true));
        assert_eq!((y.shape(), y.data()), (&[2, 1][..], &rows[..]));
        let y = run(&x, |graph, x| graph.reduce("y", x, reduction, &[0], false));
        assert_eq!((y.shape(), y.data()), (&[3][..], &columns[..]));
    }
}

#[test]
fn padding_of_every_kind() {
    let x = tensor(&[1, 3], &[1.0, 2.0, 3.0]);
    for (padding, expected) in [
        (Padding::Constant(9.0), [9.0, 9.0, 1.0, 2.0, 3.0, 9.0]),
        (Padding::Reflect, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
        (Padding::Edge, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
        (Padding::Wrap, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
    ] {
        let y = run(&x, |graph, x| graph.pad("y", x, padding, &[0, 2], &[0, 1]));
        assert_eq!(y.data(), expected, "{padding:?}");
    }
    let too_far = one(&[1, 3], |graph, x| {
        graph.pad("y", x, Padding::Reflect, &[0, 3], &[0, 0])
    });
    assert!(too_far.unwrap_err().to_string().contains("Reflect"));
}

#[test]
fn positions_and_steps() {
    let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = run(&x, |graph, x| graph.select("y", x, 1, &[2, 0, 2, 1]));
    assert_eq!(y.data(), [3.0, 1.0, 3.0, 2.0, 6.0, 4.0, 6.0, 5.0]);
    assert!(one(&[2, 3], |graph, x| graph.select("y", x, 0, &[2])).is_err());
    let slice = |step| Movement::Slice {
        dim: 1,
        start: 0,
        step,
        length: 2,
    };
    let sliced = |step| {
        move |graph: &mut GraphBuilder, x| {
            let spelling = qconfig_core::operator::by_path("torch.narrow").unwrap();
            graph.node("y", spelling, Op::Movement(slice(step)), &[x])
        }
    };
    assert_eq!(run(&x, sliced(2)).data(), [1.0, 3.0, 4.0, 6.0]);
    for step in [0, 3] {
        assert!(one(&[2, 3], sliced(step)).is_err());
    }
}

#[test]
fn functions_of_one_value_against_std() {
    let x = noise(&[50], 3);
    let positive: Vec<f32> = x.data().iter().map(|x| x.abs() * 0.9 + 0.01).collect();
    let positive = tensor(&[50], &positive);
    type Function = fn(f64) -> f64;
    let functions: [(Unary, Function); 24] = [
        (Unary::Exp, f64::exp),
        (Unary::Log, f64::ln),
        (Unary::Sqrt, f64::sqrt),
        (Unary::Rsqrt, |x| 1.0 / x.sqrt()),
        (Unary::Reciprocal, |x| 1.0 / x),
        (Unary::Neg, |x| -x),
        (Unary::Abs, f64::abs),
        (Unary::Sign, f64::signum),
        (Unary::Floor, f64::floor),
        (Unary::Ceil, f64::ceil),
        (Unary::Round, f64::round_ties_even),
        (Unary::Sin, f64::sin),
        (Unary::Cos, f64::cos),
        (Unary::Tan, f64::tan),
        (Unary::Asin, f64::asin),
        (Unary::Atan, f64::atan),
        (Unary::Sinh, f64::sinh),
        (Unary::Cosh, f64::cosh),
        (Unary::Asinh, f64::asinh),
        (Unary::Silu, |x| x / (1.0 + (-x).exp())),
        (Unary::Mish, |x| x * x.exp().ln_1p().tanh()),
        (Unary::Softplus { beta: 2.0 }, |x| {
            (2.0 * x).exp().ln_1p() / 2.0
        }),
        (Unary::Softsign, |x| x / (1.0 + x.abs())),
        (Unary::PowScalar { exponent: 1.5 }, |x| x.powf(1.5)),
    ];
    for (function, right) in functions {
        let y = run(&positive, |graph, x| graph.unary("y", x, function));
        for (x, y) in positive.data().iter().zip(y.data()) {
            let right = right(f64::from(*x));
            let error = (f64::from(*y) - right).abs();
            assert!(error <= 1e-6 * right.abs(), "{function:?}({x}) = {y}");
        }
    }
}

#[test]
fn integers_become_floats() {
    let mut graph = GraphBuilder::new();
    let ids = graph.input_integers("ids", &[3], DType::int64).unwrap();
    let y = graph.to_float("y", ids).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let ids = Tensor::indices(vec![3], vec![7, -2, 0]).unwrap();
    assert_eq!(graph.run(&[ids]).unwrap()[0].data(), [7.0, -2.0, 0.0]);
    assert!(one(&[3], |graph, x| graph.to_float("y", x)).is_err());
}

#[test]
fn the_backend_has_no_pattern_for_them() {
    let graph = one(&[1, 4], |graph, x| {
        let c = graph.constant("c", tensor(&[4], &[1.0; 4]))?;
        graph.binary("y", x, c, Binary::Sub)
    })
    .unwrap();
    let mapping = QConfigMapping::new().global(Some(QConfig::QNNPACK));
    let prepared = prepare(&graph, &QNNPACK, &mapping).unwrap();
    let [Decision::Float(FloatReason::NoPattern)] = prepared.decisions() else {
        panic!("{:?}", prepared.decisions())
    };
}

#[test]
fn a_constant_beside_quantized_values() {
    // a constant for each channel and one for all, added and multiplied
    for seed in 0..3 {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &[2, 5, 4, 3]).unwrap();
        let shift = graph.constant("shift", noise(&[5, 1, 1], seed)).unwrap();
        let x = graph.add("add", x, shift).unwrap();
        let conv = Conv::new(noise(&[6, 5, 1, 1], 3));
        let x = graph.conv("conv", x, conv).unwrap();
        let factor = graph
            .constant("factor", noise(&[1, 6, 4, 3], seed))
            .unwrap();
        let x = graph.mul("mul", x, factor).unwrap();
        let row = graph.constant("row", noise(&[1], seed)).unwrap();
        let y = graph.add("out", x, row).unwrap();
        let graph = graph.finish(&[y]).unwrap();
        check(&graph, &[2, 5, 4, 3], 2.0, seed);
    }
}

#[test]
fn a_constant_is_observed_as_it_is_and_costs_no_quantization() {
    let graph = one(&[1, 2, 3, 3], |graph, x| {
        let c = graph.constant("c", tensor(&[2, 1, 1], &[-1.0, 4.0]))?;
        graph.add("y", x, c)
    })
    .unwrap();
    let id = graph.constants().next().unwrap().0;
    // the default observer is a histogram, which two values would not fill
    let mapping = QConfigMapping::new().global(Some(QConfig::QNNPACK));
    let (model, lowered) = flow(&graph, &mapping, &[noise(&[1, 2, 3, 3], 1)]);
    let qparams = model.qparams(id, DType::quint8).unwrap();
    assert_eq!(qparams.scale, 5.0 / 255.0);
    assert_eq!(qparams.zero_point, 51);
    let steps = lowered.plan.steps().iter();
    let names: Vec<&str> = steps.map(|step| step.kernel().name).collect();
    assert_eq!(names.iter().filter(|name| **name == "quantize").count(), 1);
    assert!(names.contains(&"constant"), "{names:?}");
}

#[test]
fn a_constant_that_is_no_number_is_refused() {
    let mut graph = GraphBuilder::new();
    let error = graph.constant("c", tensor(&[1], &[f32::NAN])).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
}

#[test]
fn padding_that_differs_between_sides() {
    let mut conv = Conv::new(noise(&[4, 3, 3, 3], 2)).stride(2);
    conv.padding = vec![0, 0, 1, 1];
    let mut pool = Pool::square(3);
    (pool.stride, pool.padding) = (vec![2, 2], vec![0, 0, 1, 1]);
    let x = noise(&[1, 3, 8, 8], 5);
    // as if the padding were there
    let y = run(&x, |graph, x| graph.conv("y", x, conv.clone()));
    assert_eq!(y.shape(), [1, 4, 4, 4]);
    let plain = run(&x, |graph, x| {
        let x = graph.pad("pad", x, Padding::Constant(0.0), &[0; 4], &[0, 0, 1, 1])?;
        let mut plain = conv.clone();
        plain.padding = vec![0, 0];
        graph.conv("y", x, plain)
    });
    assert_eq!(y, plain);
    let graph = one(&[1, 3, 8, 8], |graph, x| {
        let x = graph.conv("conv", x, conv)?;
        graph.max_pool("pool", x, pool)
    })
    .unwrap();
    assert_eq!(graph.value(graph.outputs()[0]).shape, [1, 4, 2, 2]);
    check(&graph, &[1, 3, 8, 8], 1.0, 3);
}
