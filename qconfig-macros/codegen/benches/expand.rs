//! How long the macro takes for PyTorch's QNNPACK, 190 patterns and 404 pairs; and that its time grows with the number
//! of patterns and no faster.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a bench fails by panicking"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

/// What stands in the braces of the macro call that a file consists of.
fn braces(file: &str) -> TokenStream {
    let tokens: TokenStream = file.parse().expect("Rust tokens");
    match tokens.into_iter().last().expect("a macro call") {
        TokenTree::Group(group) => group.stream(),
        other => unreachable!("the file ends in `{other}`"),
    }
}

fn expand(criterion: &mut Criterion) {
    let groups = braces(include_str!("../../../backends/groups.rs"));
    let spec = braces(include_str!("../../../backends/qnnpack.rs"));
    let input = quote!([callback] [::qconfig_core::__private] { #spec } { #groups });
    criterion.bench_function("qnnpack", |bencher| {
        bencher.iter(|| qconfig_codegen::backend_config(input.clone()));
    });
    for count in [100, 1_000, 10_000] {
        let patterns: String = (0..count)
            .map(|i| {
                format!(
                    "pattern crate::ops::Op{i} + nn::ReLU: [w, d] {{ kernel => crate::K{}; }}",
                    i % 50
                )
            })
            .collect();
        let text = format!(
            "pub backend B = \"b\";
             config w {{ input: quint8, output: quint8, weight: qint8, bias: f32 }}
             config d {{ input: quint8, output: quint8 }}
             {patterns}"
        );
        let spec: TokenStream = text.parse().expect("Rust tokens");
        let input = quote!([callback] [::qconfig_core::__private] { #spec } { #groups });
        let mut group = criterion.benchmark_group("patterns");
        group.sample_size(10);
        group.throughput(criterion::Throughput::Elements(count));
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| qconfig_codegen::backend_config(input.clone()));
        });
    }
    criterion.bench_function("standard groups", |bencher| {
        bencher.iter(|| qconfig_codegen::op_groups(groups.clone()));
    });
}

criterion_group!(benches, expand);
criterion_main!(benches);
