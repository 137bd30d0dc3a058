//! The same values as torch's engines fbgemm, x86 and onednn: by kernels of their own where these engines compute
//! by other formulas than qnnpack, by the same kernels elsewhere.
//!
//! | family | fbgemm, x86 | onednn |
//! |---|---|---|
//! | linear layers; convolutions of one to three dimensions, transposed ones | to the bit | within one step |
//! | dynamic linear layers | to the bit | within `4e-6` of the largest value |
//! | recurrent layers | within `1e-6`, for the reason that `recurrent` tells | the same |
//! | sums; functions of one value; batch normalization; all in [`the_same_bytes_in_every_engine`] | to the bit | to the bit |
//! | averages over windows and axes, where ATen adds floats | within one step | within one step |
//!
//! The share of elements that are a step away is printed.

use std::cell::Cell;

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp};
use qconfig_kernels::{Q8AdaptiveAvgPool, Q8AvgPool, Q8BatchNorm, Q8GlobalAvgPool, Q8Mean, fbgemm};
use qconfig_tests::golden::{Archive, Case};
use qconfig_tests::harness::{Tally, floats};

use crate::node::Visit;
use crate::{add, conv, linear, linear_dynamic, norm, pool, pool_volume, recurrent, unary, volume};

const ENGINES: [&str; 3] = ["fbgemm", "x86", "onednn"];
/// Those of one code path, where the CPU that made the data has no dot-product instruction.
const FBGEMM: [&str; 2] = ["fbgemm", "x86"];

/// Calls `each` with every case that an engine has, of all families.
fn cases(families: &[&str], engine: &str, mut each: impl FnMut(&str, &Case<'_>)) {
    for family in families {
        let archive = Archive::of_engine(family, engine).expect("the engine has the operator");
        for case in archive.cases() {
            if !case.fields.contains_key("left_out") {
                each(family, &case);
            }
        }
    }
}

/// Holds a kernel against every engine, those in `exact` to the bit and the others within a step.
fn hold(
    families: &[&str],
    exact: &[&str],
    kernel: &Kernel,
    node: impl Fn(&str, &Case<'_>, Visit<'_>),
) {
    for engine in ENGINES {
        let most = if exact.contains(&engine) { 0 } else { 1 };
        let mut tally = Tally::within(&format!("{} as {engine}", families.join(", ")), most);
        cases(families, engine, |family, case| {
            node(family, case, &mut |node, inputs, y| {
                tally.check(case, kernel, node, inputs, y);
            });
        });
        tally.finish(200);
    }
}

#[test]
fn linear_layers() {
    let kernel = fbgemm::Q8Linear::KERNEL;
    hold(&["linear_fbgemm"], &FBGEMM, kernel, linear::node);
}

#[test]
fn convolutions() {
    let kernel = fbgemm::Q8Conv::KERNEL;
    hold(
        &["conv1d_fbgemm", "conv2d_fbgemm"],
        &FBGEMM,
        kernel,
        conv::node,
    );
    let node = |name: &str, case: &Case<'_>, visit: Visit<'_>| {
        volume::node(name, case, false, visit);
    };
    hold(&["conv3d_fbgemm"], &FBGEMM, kernel, node);
}

#[test]
fn transposed_convolutions() {
    let families = [
        "conv_transpose1d_fbgemm",
        "conv_transpose2d_fbgemm",
        "conv_transpose3d_fbgemm",
    ];
    let kernel = fbgemm::Q8ConvTranspose::KERNEL;
    hold(&families, &FBGEMM, kernel, |name, case, visit| {
        volume::node(name, case, true, visit);
    });
}

#[test]
fn dynamic_linear_layers() {
    for engine in ENGINES {
        let mut tally = Tally::new(&format!("linear_dynamic_fbgemm as {engine}"));
        let (off, all, worst) = (Cell::new(0), Cell::new(0), Cell::new(0.0f32));
        cases(&["linear_dynamic_fbgemm"], engine, |_, case| {
            linear_dynamic::node(case, &mut |node, inputs, y| {
                let torch = floats(y);
                let largest = torch.iter().fold(0.0f32, |most, y| most.max(y.abs()));
                let kernel = fbgemm::Q8LinearDynamic::KERNEL;
                tally.check_with(case, kernel, node, inputs, |got| {
                    let pairs = floats(got).into_iter().zip(&torch).enumerate();
                    all.update(|all| all + torch.len());
                    pairs
                        .filter_map(|(at, (got, torch))| {
                            if got == *torch {
                                return None;
                            }
                            off.update(|off| off + 1);
                            let far = (got - torch).abs() / largest;
                            worst.set(worst.get().max(far));
                            let close = engine == "onednn" && far <= 4e-6;
                            (!close).then(|| format!("element {at} is {got}, torch's is {torch}"))
                        })
                        .collect()
                });
            });
        });
        println!(
            "linear_dynamic_fbgemm as {engine}: {} of {} elements ({:.2} %) differ, at most {:e} of the largest",
            off.get(),
            all.get(),
            100.0 * f64::from(off.get()) / all.get() as f64,
            worst.get()
        );
        tally.finish(200);
    }
}

#[test]
fn recurrent_layers() {
    for engine in ENGINES {
        let mut tally = Tally::new(&format!("recurrent_dynamic_fbgemm as {engine}"));
        let worst = Cell::new(0.0);
        cases(&["recurrent_dynamic_fbgemm"], engine, |_, case| {
            recurrent::node(case, false, true, &mut |node, inputs, y| {
                let kernel = fbgemm::Q8Recurrent::KERNEL;
                tally.check_with(case, kernel, node, inputs, |got| {
                    recurrent::far(got, y, &worst)
                });
            });
        });
        println!("at most {:e} from {engine}", worst.get());
        tally.finish(200);
    }
}

#[test]
fn sums() {
    for family in ["add_quint8", "add_qint8"] {
        hold(&[family], &ENGINES, fbgemm::Q8Add::KERNEL, add::node);
    }
}

/// Hardswish and tanh, which qnnpack rounds otherwise; and all other functions, which it does not.
#[test]
fn functions() {
    hold(
        &["unary_fbgemm"],
        &ENGINES,
        fbgemm::Q8Lut::KERNEL,
        unary::node,
    );
    let families = ["unary_quint8", "unary_qint8"];
    hold(&families, &ENGINES, fbgemm::Q8Lut::KERNEL, unary::node);
}

#[test]
fn averages() {
    let average = |name: &str, case: &Case<'_>, visit: Visit<'_>| {
        pool::node(name, case, pool::average, visit);
    };
    hold(&["avg_pool2d_quint8"], &[], Q8AvgPool::KERNEL, average);
    let global = |name: &str, case: &Case<'_>, visit: Visit<'_>| {
        pool::node(name, case, |_, _, _| NodeOp::GlobalAvgPool, visit);
    };
    for family in ["adaptive_avg_pool2d_quint8", "mean_quint8"] {
        hold(&[family], &[], Q8GlobalAvgPool::KERNEL, global);
    }
    let adaptive = |name: &str, case: &Case<'_>, visit: Visit<'_>| {
        pool_volume::node(name, case, |_, _, _| NodeOp::AdaptiveAvgPool, visit);
    };
    let families = [
        "adaptive_avg_pool1d_any_quint8",
        "adaptive_avg_pool2d_any_quint8",
        "adaptive_avg_pool3d_any_quint8",
    ];
    hold(&families, &[], Q8AdaptiveAvgPool::KERNEL, adaptive);
    hold(&["mean_any_quint8"], &[], Q8Mean::KERNEL, pool_volume::mean);
}

#[test]
fn batch_normalization() {
    let node = |name: &str, case: &Case<'_>, visit: Visit<'_>| {
        let eps = case.number("eps") as f32;
        let names = ["w", "bias", "mean", "var"];
        norm::node(name, case, &names, NodeOp::BatchNorm { eps }, visit);
    };
    hold(&["batch_norm_fbgemm"], &ENGINES, Q8BatchNorm::KERNEL, node);
}

/// What the tests of the goldens themselves compare is all there is to compare: the engines answer with the same
/// bytes, and the backends have the same kernels.
#[test]
fn the_same_bytes_in_every_engine() {
    for families in [
        &["mul_quint8", "mul_qint8"][..],
        &["matmul_quint8", "matmul_qint8"],
        &["cat_quint8", "cat_qint8"],
        &["clamp_quint8", "clamp_qint8"],
        &["scalar_quint8", "scalar_qint8"],
        &["softmax_quint8"],
        &[
            "max_pool1d_quint8",
            "max_pool2d_quint8",
            "max_pool2d_qint8",
            "max_pool3d_quint8",
        ],
        &[
            "batch_norm_quint8",
            "batch_norm_qint8",
            "prelu_quint8",
            "avg_pool3d_quint8",
        ],
        &[
            "group_norm_quint8",
            "instance_norm_quint8",
            "layer_norm_quint8",
        ],
        &["interpolate_nearest_quint8", "interpolate_bilinear_quint8"],
        &["embedding_byte", "embedding_4bit"],
        &["linear_dynamic_fp16", "recurrent_fp16"],
    ] {
        let goldens: Vec<Archive> = families
            .iter()
            .map(|family| Archive::open(&format!("numerics/{family}.npz")))
            .collect();
        for engine in ENGINES {
            let mut count = 0;
            for (family, golden) in families.iter().zip(&goldens) {
                let Some(other) = Archive::of_engine(family, engine) else {
                    assert!(engine == "onednn" && family.ends_with("fp16"));
                    println!("{family}: {engine} has no such operator");
                    continue;
                };
                assert_eq!(
                    golden.meta["cases"], other.meta["cases"],
                    "{family} {engine}"
                );
                assert_eq!(golden.arrays, other.arrays, "{family} {engine}");
                count += golden.cases().count();
            }
            println!(
                "{}: {count} cases, the same under {engine}",
                families.join(", ")
            );
            assert!(count >= 200 || count == 0);
        }
    }
}
