//! What a graph asks of a static table: a pattern's dtype configs, its kernel, its verdict.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use qconfig_backends::QNNPACK;
use qconfig_core::operator::nn;
use qconfig_core::{QConfig, Spelled};

fn lookup(criterion: &mut Criterion) {
    let chain = [
        nn::Conv2d::SPELLING,
        nn::BatchNorm2d::SPELLING,
        nn::ReLU::SPELLING,
    ];
    criterion.bench_function("dtype configs of one operator", |bencher| {
        bencher.iter(|| {
            QNNPACK
                .find(black_box(&chain[..1]))
                .map(|config| config.dtype_configs)
        });
    });
    criterion.bench_function("dtype configs of a chain of three", |bencher| {
        bencher.iter(|| {
            QNNPACK
                .find(black_box(&chain))
                .map(|config| config.dtype_configs)
        });
    });
    criterion.bench_function("dtype configs of a pattern that is not there", |bencher| {
        bencher.iter(|| QNNPACK.find(black_box(&chain[1..2])).is_some());
    });
    let config = QNNPACK.find(&chain[..1]);
    criterion.bench_function("kernel of a pattern and dtype config", |bencher| {
        bencher.iter(|| config.and_then(|config| QNNPACK.kernel(config, black_box(1))));
    });
    criterion.bench_function("verdict of a pattern under a qconfig", |bencher| {
        bencher.iter(|| config.map(|config| config.strict_verdict(black_box(&QConfig::QNNPACK))));
    });
}

criterion_group!(benches, lookup);
criterion_main!(benches);
