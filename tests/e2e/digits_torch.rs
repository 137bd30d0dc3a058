//! The digits network with torch's own scales, zero points and weights: every layer's bytes are those
//! of torch's quantized model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use qconfig_core::kernel::{Activation, Kernel, NodeOp, QParams, WeightData, WeightSpec, Window};
use qconfig_core::{DType, Isa, KernelFamily};
use qconfig_kernels::{Dequantize, Q8Conv, Q8Linear, Q8MaxPool, Quantize, ToChannelsFirst};
use qconfig_runtime::{Plan, PlanBuilder, Session, SessionOptions, StepInfo, TensorId, TensorInfo};
use qconfig_tests::golden::{self, Archive, Tensor};
use qconfig_tests::harness::{differences, float_differences, floats};
use serde_json::Value;

const POOLED: [&str; 3] = ["conv_layers_2", "conv_layers_5", "conv_layers_8"];

/// Puts torch's layers together, one step each.
struct Network<'a> {
    golden: &'a Archive,
    layers: BTreeMap<String, &'a Value>,
    builder: PlanBuilder,
}

impl<'a> Network<'a> {
    fn new(golden: &'a Archive) -> Self {
        let layers = golden.meta["layers"].as_array().unwrap();
        let name = |layer: &Value| layer["name"].as_str().unwrap().to_owned();
        Self {
            golden,
            layers: layers.iter().map(|layer| (name(layer), layer)).collect(),
            builder: PlanBuilder::new(),
        }
    }

    fn qparams(&self, layer: &str) -> QParams {
        QParams {
            scale: self.layers[layer]["scale"].as_f64().unwrap() as f32,
            zero_point: self.layers[layer]["zero_point"].as_i64().unwrap() as i32,
        }
    }

    /// The layer's output.
    fn quint8(&mut self, layer: &str, name: &str, shape: &[usize]) -> TensorId {
        let qparams = Some(self.qparams(layer));
        let info = TensorInfo {
            name,
            dtype: DType::quint8,
            shape,
            qparams,
        };
        self.builder.tensor(info).unwrap()
    }

    fn float(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let info = TensorInfo {
            name,
            dtype: DType::float32,
            shape,
            qparams: None,
        };
        self.builder.tensor(info).unwrap()
    }

    fn step(&mut self, name: &str, kernel: &'static Kernel, op: NodeOp, x: TensorId, y: TensorId) {
        self.builder
            .step(StepInfo::new(name, kernel, op, &[x], y))
            .unwrap();
    }

    fn weighted(
        &mut self,
        layer: &str,
        kernel: &'static Kernel,
        op: NodeOp,
        x: TensorId,
        y: TensorId,
    ) {
        let described = self.layers[layer];
        let array = |key: &str| self.golden.array(described[key].as_str().unwrap());
        let weight = array("w").i8().channels_last();
        let scale = described["w_scale"].as_f64().unwrap() as f32;
        let zero_point = described["w_zero_point"].as_i64().unwrap() as i32;
        let relu = described["relu"].as_bool().unwrap();
        let inputs = [x];
        let info = StepInfo {
            activation: if relu {
                Activation::Relu
            } else {
                Activation::None
            },
            weight: Some(WeightSpec {
                dtype: DType::qint8,
                shape: &weight.shape,
                data: WeightData::I8(&weight.data),
                scales: &[scale],
                zero_points: &[zero_point],
            }),
            bias: Some(array("bias").f32()),
            ..StepInfo::new(layer, kernel, op, &inputs, y)
        };
        self.builder.step(info).unwrap();
    }

    fn plan(mut self, batch: usize) -> Plan<'static> {
        let image = self.float("image", &[batch, 28, 28, 1]);
        self.builder.input(image).unwrap();
        let mut x = self.quint8(
            "quantize_per_tensor",
            "quantize_per_tensor",
            &[batch, 28, 28, 1],
        );
        self.step(
            "quantize_per_tensor",
            Quantize::KERNEL,
            NodeOp::Quantize,
            image,
            x,
        );
        let window = |size: usize, stride: usize, padding: usize| Window {
            kernel: [size; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1; 2],
        };
        let layers = [
            ("conv_layers_0", POOLED[0], 28, 32),
            ("conv_layers_3", POOLED[1], 14, 64),
            ("conv_layers_6", POOLED[2], 7, 128),
        ];
        for (conv, pool, side, channels) in layers {
            let y = self.quint8(conv, conv, &[batch, side, side, channels]);
            let op = NodeOp::Conv {
                window: window(3, 1, 1),
                groups: 1,
            };
            self.weighted(conv, Q8Conv::KERNEL, op, x, y);
            x = self.quint8(pool, pool, &[batch, side / 2, side / 2, channels]);
            let op = NodeOp::MaxPool {
                window: window(2, 2, 0),
            };
            self.step(pool, Q8MaxPool::KERNEL, op, y, x);
        }
        // torch flattens channels first
        let first = self.quint8("flatten", "channels first", &[batch, 128, 3, 3]);
        self.step(
            "flatten",
            ToChannelsFirst::KERNEL,
            NodeOp::ToChannelsFirst,
            x,
            first,
        );
        x = self.quint8("flatten", "flatten", &[batch, 1152]);
        self.builder.alias(first, x).unwrap();
        for (layer, outputs) in [("fc_layers_0", 256), ("fc_layers_2", 10)] {
            let y = self.quint8(layer, layer, &[batch, outputs]);
            self.weighted(layer, Q8Linear::KERNEL, NodeOp::Linear, x, y);
            x = y;
        }
        let logits = self.float("logits", &[batch, 10]);
        self.step(
            "dequantize",
            Dequantize::KERNEL,
            NodeOp::Dequantize,
            x,
            logits,
        );
        self.builder.output(logits).unwrap();
        self.builder.finish().unwrap()
    }
}

/// The first evaluation images, normalised as torch does.
fn images(count: usize) -> Vec<f32> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits.npz");
    let arrays = golden::arrays(&path);
    let pixels = &arrays["eval_images"].u8()[..count * 28 * 28];
    let normal = |x: &u8| (f32::from(*x) / 255.0 - 0.1307) / 0.3081;
    pixels.iter().map(normal).collect()
}

fn golden() -> Archive {
    Archive::open("digits_qnnpack.npz")
}

#[test]
fn every_layer_is_torchs_to_the_bit() {
    let golden = golden();
    let plan = Network::new(&golden).plan(2);
    let layers: Vec<String> = Network::new(&golden).layers.into_keys().collect();
    assert_eq!(layers.len(), 10);
    let mut elements = 0;
    for isa in Isa::available() {
        for threads in [1, 3] {
            let options = SessionOptions {
                threads,
                keep_all: true,
                ..SessionOptions::with_isa(isa)
            };
            let mut session = Session::new(&plan, options).unwrap();
            session.set_input_f32(0, &images(2)).unwrap();
            session.run().unwrap();
            for layer in &layers {
                let id = plan.tensor_named(layer).unwrap();
                let array = golden.array(&format!("{layer}/y"));
                let got = session.tensor_bytes(id).unwrap();
                let mut shape = array.shape.clone();
                shape[0] = 2;
                let expected = Tensor {
                    data: array.u8()[..shape.iter().product()].to_vec(),
                    shape,
                }
                .channels_last();
                let wrong = differences(got, &expected.data);
                let first = wrong.first();
                assert!(
                    wrong.is_empty(),
                    "{layer} on {isa}, {threads} thread(s): {} elements differ: {first:?}",
                    wrong.len()
                );
                elements += got.len();
            }
            let logits = session.output(0).unwrap();
            let wrong = float_differences(logits, &golden.array("logits").f32()[..20]);
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
    println!("digits: 10 layers, {elements} elements equal to torch's");
}

#[test]
fn the_answers_for_256_digits_are_torchs_to_the_bit() {
    let golden = golden();
    let plan = Network::new(&golden).plan(256);
    let options = SessionOptions {
        threads: 2,
        ..SessionOptions::with_isa(Isa::detect())
    };
    let mut session = Session::new(&plan, options).unwrap();
    session.set_input_f32(0, &images(256)).unwrap();
    session.run().unwrap();
    let logits = session.output(0).unwrap();
    let wrong = float_differences(logits, golden.array("logits").f32());
    assert!(
        wrong.is_empty(),
        "{} differ: {:?}",
        wrong.len(),
        wrong.first()
    );
    assert_eq!(floats(logits).len(), 2560);
}
