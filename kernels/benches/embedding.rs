//! The embedding bags of the speed table: 32 bags of 40 rows of 64 columns, other rows with every call, out of
//! a table that no cache holds.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use qconfig_core::kernel::{
    BagMode, Call, KernelFamily, NodeOp, NodeSpec, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::EmbeddingRowwise;

const ROWS: usize = 1 << 20;
const COLUMNS: usize = 64;
const BAGS: usize = 32;
const EACH: usize = 40;
/// Lists of indices: together more rows than a cache holds.
const LISTS: usize = 512;

fn bags(c: &mut Criterion, dtype: DType, bits: usize) {
    let kernel = EmbeddingRowwise::KERNEL;
    let values: Vec<u8> = (0..ROWS * COLUMNS).map(|at| (at * 31 % 16) as u8).collect();
    let (scales, zero_points) = (vec![0.01; ROWS], vec![3.5; ROWS]);
    let of = |dtype, shape| TensorSpec {
        dtype,
        shape,
        qparams: None,
    };
    let parameters = [WeightSpec::float(&zero_points)];
    let inputs = [of(DType::int64, &[BAGS * EACH]), of(DType::int64, &[BAGS])];
    let node = NodeSpec {
        weight: Some(WeightSpec {
            dtype,
            shape: &[ROWS, COLUMNS],
            data: WeightData::U8(&values),
            scales: &scales,
            zero_points: &[],
        }),
        parameters: &parameters,
        ..NodeSpec::new(
            NodeOp::EmbeddingBag {
                mode: BagMode::Sum,
                include_last_offset: false,
                padding_idx: None,
            },
            &inputs,
            of(DType::float32, &[BAGS, COLUMNS]),
        )
    };
    let Ok(sizes) = (kernel.sizes)(&node) else {
        return;
    };
    let mut blob = vec![0; sizes.blob];
    assert_eq!((kernel.pack)(&node, &mut blob), Ok(()));
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as i64 % ROWS as i64
    };
    let lists: Vec<Vec<u8>> = (0..LISTS)
        .map(|_| {
            let indices = (0..BAGS * EACH).flat_map(|_| random().to_ne_bytes());
            indices.collect()
        })
        .collect();
    let offsets: Vec<u8> = (0..BAGS as i64)
        .flat_map(|bag| (bag * EACH as i64).to_ne_bytes())
        .collect();
    let mut output = vec![0; BAGS * COLUMNS * 4];
    for isa in Isa::available() {
        let mut next = 0;
        c.bench_function(
            &format!("{bits} bits {BAGS} x {EACH} x {COLUMNS} {isa}"),
            |b| {
                b.iter(|| {
                    next = (next + 1) % LISTS;
                    let call = Call {
                        blob: &blob,
                        inputs: &[black_box(&lists[next]), &offsets],
                        output: &mut output,
                        units: 0..BAGS,
                        scratch: &mut [],
                        isa,
                    };
                    (kernel.run)(call)
                });
            },
        );
    }
}

fn all(c: &mut Criterion) {
    bags(c, DType::quint8, 8);
    bags(c, DType::quint4x2, 4);
}

criterion_group!(benches, all);
criterion_main!(benches);
