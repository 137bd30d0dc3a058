use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Add;
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, Tally};

use crate::node::{dtype, quantized, relu};

fn check(name: &str, case: &Case<'_>, tally: &mut Tally, change: impl Fn(&mut [u8])) {
    let (a, b, mut y) = (case.stored("a"), case.stored("b"), case.stored("y"));
    change(&mut y.data);
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
    tally.check(case, Q8Add::KERNEL, &node, &[&a.data, &b.data], &y.data);
}

fn add(name: &str) {
    harness::family(name, 200, |case, tally| check(name, case, tally, |_| {}));
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
        check("add_quint8", case, tally, |y| {
            if case.index == 123 {
                y[0] ^= 1;
            }
        });
    });
}
