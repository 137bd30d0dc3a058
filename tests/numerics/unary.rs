//! Functions of one value, and a tensor with a number.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec, Unary};
use qconfig_kernels::{Q8Lut, scalar_qparams};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, steps};

use crate::node::{Visit, dtype, quantized, relu};

fn of(name: &str, case: &Case<'_>, function: Unary, visit: Visit<'_>) {
    let (x, y) = (case.stored("x"), case.stored("y"));
    let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
    let node = NodeSpec {
        activation: if case.fields.contains_key("relu") {
            relu(case)
        } else {
            Default::default()
        },
        ..NodeSpec::new(
            NodeOp::Unary(function),
            &inputs,
            quantized(dtype(name), &y.shape, case.qparams("y")),
        )
    };
    visit(&node, &[&x.data], &y.data);
}

/// A function of one value.
pub fn node(name: &str, case: &Case<'_>, visit: Visit<'_>) {
    let alpha = case.number("alpha") as f32;
    let function = match case.word("kind") {
        "sigmoid" => Unary::Sigmoid,
        "tanh" => Unary::Tanh,
        "hardsigmoid" => Unary::Hardsigmoid,
        "hardswish" => Unary::Hardswish,
        "leaky_relu" => Unary::LeakyRelu {
            negative_slope: alpha,
        },
        "elu" => Unary::Elu { alpha },
        "gelu" => Unary::Gelu { tanh: false },
        "gelu_tanh" => Unary::Gelu { tanh: true },
        other => panic!("unknown function {other}"),
    };
    of(name, case, function, visit);
}

fn functions(name: &str, least: usize) {
    harness::family(name, least, |case, tally| {
        // ATen's vector bodies may be one step off, by the instruction set
        let most = if case.flag("exact") { 0 } else { 1 };
        node(name, case, &mut |node, inputs, y| {
            tally.check_with(case, Q8Lut::KERNEL, node, inputs, |got| steps(got, y, most));
        });
    });
}

#[test]
fn functions_quint8() {
    functions("unary_quint8", 250);
}

#[test]
fn functions_qint8() {
    functions("unary_qint8", 150);
}

fn numbers(name: &str, least: usize) {
    harness::family(name, least, |case, tally| {
        let other = case.number("other");
        let function = match case.word("kind") {
            "add" => Unary::AddScalar { other },
            _ => Unary::MulScalar { other },
        };
        assert_eq!(
            scalar_qparams(function, dtype(name), case.qparams("x")),
            Some(case.qparams("y")),
            "{}",
            case.name()
        );
        of(name, case, function, &mut |node, inputs, y| {
            tally.check(case, Q8Lut::KERNEL, node, inputs, y);
        });
    });
}

#[test]
fn numbers_quint8() {
    numbers("scalar_quint8", 200);
}

#[test]
fn numbers_qint8() {
    numbers("scalar_qint8", 100);
}
