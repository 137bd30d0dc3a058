//! Linear layers beside the machine's own int8 peak, measured in the same run.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use qconfig_core::kernel::{
    Activation, Call, NodeOp, NodeSpec, QParams, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa, KernelFamily};
use qconfig_kernels::{Q8Linear, peak};

/// `M x N x K`.
const SHAPES: [[usize; 3]; 4] = [
    [1024, 1024, 1024],
    [512, 512, 512],
    [3136, 64, 64],
    [1, 1000, 1280],
];

fn linear(criterion: &mut Criterion) {
    let isa = Isa::detect();
    for [m, n, k] in SHAPES {
        let weight: Vec<i8> = (0..n * k).map(|i| (i * 37 % 251) as u8 as i8).collect();
        let data: Vec<u8> = (0..m * k).map(|i| (i * 29 % 253) as u8).collect();
        let (input_shape, output_shape) = ([m, k], [m, n]);
        let quantized = |shape, scale| TensorSpec {
            dtype: DType::quint8,
            shape,
            qparams: Some(QParams {
                scale,
                zero_point: 128,
            }),
        };
        let (scales, bias) = (vec![0.01; n], vec![0.5; n]);
        let node = NodeSpec {
            op: NodeOp::Linear,
            activation: Activation::Relu,
            inputs: &[quantized(&input_shape, 0.02)],
            output: quantized(&output_shape, 0.5),
            weight: Some(WeightSpec {
                dtype: DType::qint8,
                shape: &[n, k],
                data: WeightData::I8(&weight),
                scales: &scales,
                zero_points: &vec![0; n],
            }),
            bias: Some(&bias),
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        let kernel = Q8Linear::KERNEL;
        let Ok(sizes) = (kernel.sizes)(&node) else {
            continue;
        };
        let mut blob = vec![0; sizes.blob];
        if (kernel.pack)(&node, &mut blob).is_err() {
            continue;
        }
        let Ok(split) = (kernel.split)(&blob, &[data.len()]) else {
            continue;
        };
        let mut output = vec![0; split.output_bytes];
        let mut scratch = vec![0; sizes.scratch];
        let mut call = || {
            let call = Call {
                blob: &blob,
                inputs: &[&data],
                output: &mut output,
                units: 0..split.units,
                scratch: &mut scratch,
                isa,
            };
            black_box((kernel.run)(call).is_ok())
        };
        let operations = 2 * m * n * k;
        let mut group = criterion.benchmark_group((kernel.variant)(&blob, isa));
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function(format!("{m}x{n}x{k}"), |bencher| bencher.iter(&mut call));
        group.finish();

        // in short stretches, turn by turn with the peak: clocks and neighbours change
        let parts = (operations / 40_000_000).clamp(1, split.units);
        let (mut rates, mut peaks) = (Vec::new(), Vec::new());
        for round in 0..200 {
            peaks.push(peak(isa).unwrap_or_default() / 1e9);
            let part = round % parts;
            let units = split.units * part / parts..split.units * (part + 1) / parts;
            let bytes = split.bytes(&units);
            let share = bytes.len() as f64 / split.output_bytes as f64;
            let repeats = (10_000_000.0 / (operations as f64 * share)).ceil();
            let start = Instant::now();
            for _ in 0..repeats as usize {
                let call = Call {
                    blob: &blob,
                    inputs: &[&data],
                    output: &mut output[bytes.clone()],
                    units: units.clone(),
                    scratch: &mut scratch,
                    isa,
                };
                black_box((kernel.run)(call).is_ok());
            }
            let done = operations as f64 * share * repeats;
            rates.push(done / start.elapsed().as_secs_f64() / 1e9);
        }
        rates.sort_by(f64::total_cmp);
        let (median, best) = (rates[rates.len() / 2], rates[rates.len() - 1]);
        let peak = peaks.into_iter().fold(0.0, f64::max);
        let share = |rate: f64| 100.0 * rate / peak;
        println!(
            "{m}x{n}x{k}: median {median:.1} GOPS ({:.0} %), best {best:.1} GOPS ({:.0} %) of the {isa} peak of {peak:.1}",
            share(median),
            share(best),
        );
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    linear(&mut criterion);
    criterion.final_summary();
}
