//! Layout changes, one element at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, QParams};
use qconfig_kernels::{ToChannelsFirst, ToChannelsLast};

/// Shapes channels last and channels first, of the same elements.
fn shapes(rng: &mut Rng) -> (Vec<usize>, Vec<usize>) {
    let n = rng.below(1..4);
    let c = if rng.chance(3) {
        rng.below(1..6)
    } else {
        rng.below(1..50)
    };
    let mut spatial = Vec::new();
    for _ in 0..rng.below(0..4) {
        spatial.push(rng.below(1..9));
    }
    if rng.chance(30) {
        spatial.push(0);
    }
    (
        [vec![n], spatial.clone(), vec![c]].concat(),
        [vec![n, c], spatial].concat(),
    )
}

#[test]
fn layouts_are_transposes_of_each_other() {
    report();
    for seed in 0..2_000 {
        let rng = &mut Rng::new(seed);
        let (last, first) = shapes(rng);
        let dtype = rng.pick(&[DType::quint8, DType::qint8, DType::float32]);
        let qparams = dtype.is_quantized().then_some(QParams {
            scale: 0.5,
            zero_point: 3,
        });
        let element = if dtype == DType::float32 { 4 } else { 1 };
        let (n, c) = (first[0], first[1]);
        let positions: usize = first[2..].iter().product();
        let in_last = rng.bytes(n * c * positions * element);
        let mut in_first = vec![0; in_last.len()];
        for (n, p, c_at) in
            (0..n).flat_map(|n| (0..positions).flat_map(move |p| (0..c).map(move |c| (n, p, c))))
        {
            let (from, to) = (
                (n * positions + p) * c + c_at,
                (n * c + c_at) * positions + p,
            );
            in_first[to * element..][..element]
                .copy_from_slice(&in_last[from * element..][..element]);
        }
        let (a, b) = (
            tensor(dtype, &last, qparams),
            tensor(dtype, &first, qparams),
        );
        let spec = node(
            NodeOp::ToChannelsFirst,
            Activation::None,
            std::slice::from_ref(&a),
            b,
        );
        check(
            ToChannelsFirst::KERNEL,
            &spec,
            std::slice::from_ref(&in_last),
            &in_first,
            rng,
        );
        let spec = node(
            NodeOp::ToChannelsLast,
            Activation::None,
            std::slice::from_ref(&b),
            a,
        );
        check(ToChannelsLast::KERNEL, &spec, &[in_first], &in_last, rng);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let from = [tensor(DType::float32, &[1, 2, 3, 4], None)];
    let refused = |op, to: &[usize], dtype| {
        let spec = node(op, Activation::None, &from, tensor(dtype, to, None));
        (ToChannelsFirst::KERNEL.sizes)(&spec).is_err()
    };
    assert!(!refused(
        NodeOp::ToChannelsFirst,
        &[1, 4, 2, 3],
        DType::float32
    ));
    assert!(refused(
        NodeOp::ToChannelsFirst,
        &[1, 4, 3, 2],
        DType::float32
    ));
    assert!(refused(
        NodeOp::ToChannelsFirst,
        &[1, 2, 3, 4],
        DType::float32
    ));
    assert!(refused(
        NodeOp::ToChannelsLast,
        &[1, 4, 2, 3],
        DType::float32
    ));
    assert!(refused(
        NodeOp::ToChannelsFirst,
        &[1, 4, 2, 3],
        DType::float16
    ));
    assert!(refused(NodeOp::ToChannelsFirst, &[1], DType::float32));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let (last, first) = shapes(rng);
        let input = tensor(DType::float32, &last, None);
        let spec = node(
            NodeOp::ToChannelsFirst,
            Activation::None,
            std::slice::from_ref(&input),
            tensor(DType::float32, &first, None),
        );
        let bytes = vec![7; 4 * last.iter().product::<usize>()];
        if !bytes.is_empty() {
            attack_all(ToChannelsFirst::KERNEL, &spec, &[bytes], rng);
        }
    }
}
