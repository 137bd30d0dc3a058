//! The LSTM of the speed table: 256 features, 256 units, 50 steps, one sequence.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use qconfig_core::kernel::{
    Call, Kernel, KernelFamily, NodeOp, NodeSpec, RecurrentCell, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::{F16Recurrent, Q8Recurrent};

const STEPS: usize = 50;
const WIDTH: usize = 256;

fn lstm(c: &mut Criterion, kernel: &'static Kernel, half: bool) {
    let gates = 4 * WIDTH;
    let bytes: Vec<i8> = (0..gates * WIDTH)
        .map(|at| (at * 31 % 251) as u8 as i8)
        .collect();
    let floats: Vec<f32> = bytes.iter().map(|w| f32::from(*w) * 1e-3).collect();
    let bias = vec![0.1f32; gates];
    let weight = WeightSpec {
        dtype: if half { DType::float16 } else { DType::qint8 },
        shape: &[gates, WIDTH],
        data: if half {
            WeightData::F32(&floats)
        } else {
            WeightData::I8(&bytes)
        },
        scales: if half { &[] } else { &[1e-3] },
        zero_points: if half { &[] } else { &[0] },
    };
    let float = |shape| TensorSpec {
        dtype: DType::float32,
        shape,
        qparams: None,
    };
    let bias = WeightSpec::float(&bias);
    let inputs = [float(&[STEPS, 1, WIDTH])];
    let node = NodeSpec {
        parameters: &[weight, weight, bias, bias],
        ..NodeSpec::new(
            NodeOp::Recurrent {
                cell: RecurrentCell::Lstm,
                layers: 1,
                bidirectional: false,
                batch_first: false,
            },
            &inputs,
            float(&[STEPS * WIDTH + 2 * WIDTH]),
        )
    };
    let Ok(sizes) = (kernel.sizes)(&node) else {
        return;
    };
    let (mut blob, mut scratch) = (vec![0; sizes.blob], vec![0; sizes.scratch]);
    let packed = (kernel.pack)(&node, &mut blob);
    assert_eq!(packed, Ok(()));
    let input: Vec<u8> = (0..STEPS * WIDTH)
        .flat_map(|at| ((at % 97) as f32 / 48.0 - 1.0).to_ne_bytes())
        .collect();
    let mut output = vec![0; (STEPS + 2) * WIDTH * 4];
    for isa in Isa::available() {
        c.bench_function(&format!("{} {STEPS} x {WIDTH} {isa}", kernel.name), |b| {
            b.iter(|| {
                let call = Call {
                    blob: &blob,
                    inputs: &[black_box(&input)],
                    output: &mut output,
                    units: 0..1,
                    scratch: &mut scratch,
                    isa,
                };
                (kernel.run)(call)
            });
        });
    }
}

fn all(c: &mut Criterion) {
    lstm(c, Q8Recurrent::KERNEL, false);
    lstm(c, F16Recurrent::KERNEL, true);
}

criterion_group!(benches, all);
criterion_main!(benches);
