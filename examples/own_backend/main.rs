//! A backend that is not PyTorch's, as a crate that depends on qconfig would write it: its own dtype
//! configs, a standard group, a pattern of its own, and a kernel of its own.
//!
//!     cargo run --release --example own_backend

mod kernel;

use std::error::Error;

use qconfig::quantize::{GraphBuilder, Tensor, calibrate, convert, fuse, lower, prepare, report};
use qconfig::runtime::{Session, SessionOptions};
use qconfig::{DType, ObserverSpec, QConfig, QConfigMapping, QScheme, backend_config};

backend_config! {
    /// A small accelerator: 7-bit activations, so that its 16-bit adders cannot overflow.
    pub backend TINY = "tiny";

    dtype act = quint8 { quant in 0..=127 };
    dtype wt  = qint8  { quant in -127..=127 };

    config weighted { input: act, output: act, weight: wt, bias: f32 }
    config plain    { input: act, output: act }

    group linear: weighted { kernel => qconfig::kernels::Q8Linear; }

    /// Its vector unit adds in floats.
    pattern torch::add: plain { kernel => crate::kernel::FloatAdd; }
}

fn main() -> Result<(), Box<dyn Error>> {
    // y = x + W2 relu(W1 x): made-up weights, 16 features
    let weight = |seed: u32| {
        let values = (0..256u32)
            .map(|i| ((i * 37 + seed * 101) % 41) as f32 / 200.0 - 0.1)
            .collect();
        Tensor::new(vec![16, 16], values)
    };
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 16])?;
    let hidden = graph.linear("block.fc1", x, weight(1)?, None)?;
    let hidden = graph.relu("block.relu", hidden)?;
    let hidden = graph.linear("block.fc2", hidden, weight(2)?, None)?;
    let y = graph.add("block.add", x, hidden)?;
    let graph = graph.finish(&[y])?;

    let seven_bits = QConfig {
        activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine).range(0, 127),
        weight: ObserverSpec::min_max(DType::qint8, QScheme::PerTensorSymmetric).range(-127, 127),
    };
    let mapping = QConfigMapping::new().global(Some(seven_bits));
    let samples: Vec<Tensor> = (0..64)
        .map(|n| {
            Tensor::new(
                vec![1, 16],
                (0..16)
                    .map(|i| ((n * 7 + i * 3) % 29) as f32 / 14.0 - 1.0)
                    .collect(),
            )
        })
        .collect::<Result<_, _>>()?;

    let prepared = prepare(&fuse(&graph, &TINY), &TINY, &mapping)?;
    let model = convert(&calibrate(
        &prepared,
        samples.iter().map(std::slice::from_ref),
        |_| {},
    )?)?;
    let lowered = lower(&model)?;
    let options = SessionOptions {
        keep_all: true,
        ..SessionOptions::new()?
    };
    let mut session = Session::new(&lowered.plan, options)?;
    for layer in report(
        &model,
        &lowered,
        &mut session,
        samples.iter().map(std::slice::from_ref),
    )? {
        println!(
            "{:10} {:32} {:9} {:28} {:5.1} dB",
            layer.node, layer.pattern, layer.dtype_config, layer.kernel, layer.sqnr_db
        );
    }

    // eight bits are more than this backend takes: the verdict says which rule, and where it stands
    let eight_bits = QConfig::QNNPACK;
    for config in TINY.configs.iter().take(1) {
        for reason in TINY.verdict(config, &eight_bits).reasons {
            println!(
                "\n`{}` under the QNNPACK qconfig stays float: {reason}",
                config.pattern
            );
        }
    }
    Ok(())
}
