use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Add;
use qconfig_tests::golden::Case;
use qconfig_tests::harness;

use crate::node::{Visit, dtype, quantized, relu};

/// A sum of two tensors.
pub fn node(name: &str, case: &Case<'_>, visit: Visit<'_>) {
    let (a, b, y) = (case.stored("a"), case.stored("b"), case.stored("y"));
    let node = NodeSpec {
        op: NodeOp::Add,
        activation: relu(case),
        inputs: &[
            quantized(dtype(name), &a.shape, case.qparams("a")),
            quantized(dtype(name), &b.shape, case.qparams("b")),
        ],
        output: quantized(dtype(name), &y.shape, case.qparams("y")),
        weight: None,
        bias: None,
        parameters: &[],
        reduce_range: false,
        divide: false,
    };
    visit(&node, &[&a.data, &b.data], &y.data);
}

fn add(name: &str) {
    harness::family(name, 200, |case, tally| {
        node(name, case, &mut |node, inputs, y| {
            tally.check(case, Q8Add::KERNEL, node, inputs, y);
        });
    });
}

#[test]
fn quint8() {
    add("add_quint8");
}

#[test]
fn qint8() {
    add("add_qint8");
}

/// The harness itself: one wrong element in one case fails a family.
#[test]
#[should_panic(expected = "1 of 300 cases differ from torch")]
fn one_wrong_element_is_noticed() {
    harness::family("add_quint8", 200, |case, tally| {
        node("add_quint8", case, &mut |node, inputs, y| {
            let mut y = y.to_vec();
            if case.index == 123 {
                y[0] ^= 1;
            }
            tally.check(case, Q8Add::KERNEL, node, inputs, &y);
        });
    });
}
