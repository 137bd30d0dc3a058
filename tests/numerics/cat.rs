use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Cat;
use qconfig_tests::harness::{self, differences};

use crate::node::{dtype, quantized};

fn cat(name: &str) {
    harness::family(name, 200, |case, tally| {
        let names = ["a", "b", "c"].into_iter();
        let names: Vec<&str> = names
            .filter(|name| case.fields.contains_key(*name))
            .collect();
        let parts: Vec<_> = names.iter().map(|part| case.stored(part)).collect();
        let inputs: Vec<_> = names
            .iter()
            .zip(&parts)
            .map(|(part, values)| quantized(dtype(name), &values.shape, case.qparams(part)))
            .collect();
        let bytes: Vec<&[u8]> = parts.iter().map(|part| part.data.as_slice()).collect();
        let y = case.stored("y");
        let op = NodeOp::Cat {
            axis: case.count("axis"),
        };
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec::new(op, &inputs, output);
        tally.check_with(case, Q8Cat::KERNEL, &node, &bytes, |got| {
            let found = differences(got, &y.data);
            // torch's vector bodies may be one step off, by the position and the instruction set
            let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
            if case.flag("exact") || !got.iter().zip(&y.data).all(near) {
                found
            } else {
                Vec::new()
            }
        });
    });
}

#[test]
fn quint8() {
    cat("cat_quint8");
}

#[test]
fn qint8() {
    cat("cat_qint8");
}
