//! Networks quantized for the engine x86. With torch's own scales and weights they answer what torch's quantized
//! modules do, to the bit; with scales of our own observers, what the reference model computes in floats.

use std::collections::BTreeMap;
use std::slice;

use qconfig_backends::{FBGEMM, ONEDNN, X86};
use qconfig_core::kernel::{QParams, Unary};
use qconfig_core::{BackendConfig, DType, Isa, default_qconfig_mapping};
use qconfig_kernels::glue;
use qconfig_quantize::observer::ChannelQParams;
use qconfig_quantize::{
    Conv, ConvTranspose, Given, Graph, GraphBuilder, Lowered, Pool, Tensor, ValueId, adopt,
    calibrate, convert, fuse, lower, prepare, set_input,
};
use qconfig_runtime::{Plan, Session, SessionOptions};
use qconfig_tests::golden::Archive;

/// The arrays of one of torch's modules.
struct Module<'a> {
    archive: &'a Archive,
    name: &'static str,
    /// Whether weights are torch's quantized ones.
    quantized: bool,
}

/// What torch calls the values that its operators write.
type Names = BTreeMap<&'static str, ValueId>;

impl Module<'_> {
    fn array(&self, name: &str) -> Tensor {
        let array = self.archive.array(&format!("{}/{name}", self.name));
        Tensor::new(array.shape.clone(), array.f32().to_vec()).unwrap()
    }

    /// The float weight, or what torch's integers stand for.
    fn weight(&self, layer: &str) -> Tensor {
        let float = self.array(&format!("{layer}.weight"));
        if !self.quantized {
            return float;
        }
        let integers = self
            .archive
            .array(&format!("{}/{layer}.integers", self.name));
        let (integers, scales) = (integers.i8().data, self.scales(layer));
        let each = integers.len() / scales.len();
        let values = integers.iter().enumerate();
        let values = values.map(|(at, w)| scales[at / each] * f32::from(*w));
        Tensor::new(float.shape().to_vec(), values.collect()).unwrap()
    }

    fn scales(&self, layer: &str) -> Vec<f32> {
        self.array(&format!("{layer}.scales")).data().to_vec()
    }

    fn bias(&self, layer: &str) -> Tensor {
        self.array(&format!("{layer}.bias"))
    }

    fn conv(&self, layer: &str) -> Conv {
        Conv::new(self.weight(layer)).bias(self.bias(layer))
    }

    /// The samples in an array.
    fn samples(&self, name: &str) -> Vec<Tensor> {
        let all = self.array(name);
        let shape = all.shape()[1..].to_vec();
        let count: usize = shape.iter().product();
        let samples = all.data().chunks(count);
        samples
            .map(|sample| Tensor::new(shape.clone(), sample.to_vec()).unwrap())
            .collect()
    }
}

/// `Convolutions` of `tests/oracle/engines.py`.
fn convolutions(module: &Module<'_>) -> (Graph, Names) {
    let mut graph = GraphBuilder::new();
    let mut names = Names::new();
    let x = graph.input("x", &[1, 3, 12, 10]).unwrap();
    names.insert("x", x);
    let x = graph.conv("first", x, module.conv("first").padding(1));
    let x = graph.relu("first relu", x.unwrap()).unwrap();
    names.insert("first", x);
    let conv = module.conv("depthwise").padding(1).groups(16);
    let y = graph.conv("depthwise", x, conv).unwrap();
    let y = graph.relu("depthwise relu", y).unwrap();
    names.insert("depthwise", y);
    let conv = module.conv("pointwise");
    let y = graph.conv("pointwise", y, conv).unwrap();
    names.insert("pointwise", y);
    let x = graph.add("sum", x, y).unwrap();
    let x = graph.relu("sum relu", x).unwrap();
    names.insert("sum", x);
    let conv = module.conv("grouped").stride(2).groups(2);
    let x = graph.conv("grouped", x, conv).unwrap();
    names.insert("grouped", x);
    let x = graph.unary("hardswish", x, Unary::Hardswish).unwrap();
    names.insert("hardswish", x);
    let up = ConvTranspose::new(module.weight("up")).bias(module.bias("up"));
    let x = graph.conv_transpose("up", x, up.stride(2)).unwrap();
    names.insert("up", x);
    let x = graph.max_pool("pool", x, Pool::square(2)).unwrap();
    names.insert("pool", x);
    let x = graph.flatten("flat", x).unwrap();
    names.insert("flat", x);
    let (weight, bias) = (module.weight("fc1"), module.bias("fc1"));
    let x = graph.linear("fc1", x, weight, Some(bias)).unwrap();
    let x = graph.relu("fc1 relu", x).unwrap();
    names.insert("fc1", x);
    let (weight, bias) = (module.weight("fc2"), module.bias("fc2"));
    let x = graph.linear("fc2", x, weight, Some(bias)).unwrap();
    names.insert("fc2", x);
    (graph.finish(&[x]).unwrap(), names)
}

/// `Layers` of `tests/oracle/engines.py`.
fn layers(module: &Module<'_>) -> (Graph, Names) {
    let mut graph = GraphBuilder::new();
    let mut names = Names::new();
    let x = graph.input("x", &[3, 20]).unwrap();
    names.insert("x", x);
    let (weight, bias) = (module.weight("fc1"), module.bias("fc1"));
    let x = graph.linear("fc1", x, weight, Some(bias)).unwrap();
    let x = graph.relu("fc1 relu", x).unwrap();
    names.insert("fc1", x);
    let (weight, bias) = (module.weight("fc2"), module.bias("fc2"));
    let x = graph.linear("fc2", x, weight, Some(bias)).unwrap();
    names.insert("fc2", x);
    let x = graph.linear("fc3", x, module.weight("fc3"), None).unwrap();
    names.insert("fc3", x);
    let x = graph.unary("tanh", x, Unary::Tanh).unwrap();
    names.insert("tanh", x);
    (graph.finish(&[x]).unwrap(), names)
}

type Build = fn(&Module<'_>) -> (Graph, Names);

/// Names of kernels, and how many steps of a plan have them.
type Kernels = &'static [(&'static str, usize)];

/// The networks, with the kernels that their plans have.
const NETWORKS: [(&str, Build, Kernels); 2] = [
    (
        "convolutions",
        convolutions,
        &[
            ("fbgemm_q8_conv", 4),
            ("fbgemm_q8_conv_transpose", 1),
            ("fbgemm_q8_linear", 2),
            ("fbgemm_q8_add", 1),
            ("fbgemm_q8_lut", 1),
        ],
    ),
    (
        "layers",
        layers,
        &[("fbgemm_q8_linear", 3), ("fbgemm_q8_lut", 1)],
    ),
];

/// What torch chose, for the graph whose weights are torch's.
fn given(module: &Module<'_>, names: &Names) -> Given {
    let mut given = Given::default();
    for (name, chosen) in module.archive.meta[module.name].as_object().unwrap() {
        let qparams = QParams {
            scale: chosen[0].as_f64().unwrap() as f32,
            zero_point: chosen[1].as_i64().unwrap() as i32,
        };
        let value = names[name.as_str()];
        given.values.insert(value, (DType::quint8, qparams));
        let scales = format!("{}/{name}.scales", module.name);
        if module.archive.arrays.contains_key(&scales) {
            let scales = module.scales(name);
            let zero_points = vec![0; scales.len()];
            let weight = ChannelQParams {
                scales,
                zero_points,
            };
            given.weights.insert(name.clone(), weight);
        }
    }
    given
}

/// The plan's answer, from its bytes.
fn answer(
    backend: &BackendConfig,
    plan: &[u8],
    x: &Tensor,
    len: usize,
    options: SessionOptions,
) -> Vec<f32> {
    let plan = Plan::from_bytes(plan, |name| {
        backend.kernel_named(name).or_else(|| glue(name))
    });
    let plan = plan.unwrap();
    let mut session = Session::new(&plan, options).unwrap();
    set_input(&mut session, 0, x).unwrap();
    session.run().unwrap();
    let mut y = vec![0.0; len];
    session.output_f32(0, &mut y).unwrap();
    y
}

fn has(lowered: &Lowered, kernels: Kernels, network: &str) {
    for (kernel, count) in kernels {
        let steps = lowered.plan.steps().iter();
        let found = steps.filter(|step| step.kernel().name == *kernel).count();
        assert_eq!(found, *count, "{kernel} in {network}");
    }
}

#[test]
fn with_torchs_scales_every_backend_of_the_engine_answers_as_torch() {
    let archive = Archive::open("networks_x86.npz");
    for (name, build, kernels) in NETWORKS {
        let module = Module {
            archive: &archive,
            name,
            quantized: true,
        };
        let (graph, names) = build(&module);
        let given = given(&module, &names);
        for backend in [&X86, &FBGEMM, &ONEDNN] {
            let lowered = lower(&adopt(&graph, backend, &given)).unwrap();
            has(&lowered, kernels, name);
            let bytes = lowered.plan.to_bytes();
            let mut elements = 0;
            for (x, y) in module.samples("x").iter().zip(module.samples("y")) {
                for isa in Isa::available() {
                    for threads in [1, 2] {
                        let options = SessionOptions {
                            threads,
                            ..SessionOptions::with_isa(isa)
                        };
                        let found = answer(backend, &bytes, x, y.data().len(), options);
                        assert_eq!(
                            found,
                            y.data(),
                            "{name} for {} on {isa}, {threads} threads",
                            backend.name
                        );
                        elements += found.len();
                    }
                }
            }
            println!(
                "{name} for {}: {elements} elements are torch's",
                backend.name
            );
        }
    }
}

#[test]
fn with_scales_of_its_own_a_plan_is_the_float_simulation() {
    let archive = Archive::open("networks_x86.npz");
    for (name, build, kernels) in NETWORKS {
        let module = Module {
            archive: &archive,
            name,
            quantized: false,
        };
        let (graph, _) = build(&module);
        let calibration = module.samples("calibration");
        // onednn's mapping asks for 8 bits where those of the others ask for 7
        for (backend, mapping, likewise) in [
            (&X86, "x86", true),
            (&FBGEMM, "fbgemm", true),
            (&ONEDNN, "onednn", false),
        ] {
            let mapping = default_qconfig_mapping(mapping).unwrap();
            let prepared = prepare(&fuse(&graph, backend), backend, &mapping).unwrap();
            let samples = calibration.iter().map(slice::from_ref);
            let model = convert(&calibrate(&prepared, samples, |_| {}).unwrap()).unwrap();
            let lowered = lower(&model).unwrap();
            has(&lowered, kernels, name);
            let output = model.graph().outputs()[0];
            let scale = model.qparams(output, DType::quint8).unwrap().scale;
            let bytes = lowered.plan.to_bytes();
            let (mut off, mut elements) = (0, 0);
            for (x, torch) in module.samples("x").iter().zip(module.samples("y")) {
                let simulated = &model.run(slice::from_ref(x)).unwrap()[0];
                let options = SessionOptions::with_isa(Isa::detect());
                let found = answer(backend, &bytes, x, simulated.data().len(), options);
                let pairs = found.iter().zip(simulated.data()).zip(torch.data());
                for ((plan, simulated), torch) in pairs {
                    elements += 1;
                    off += usize::from(plan != simulated);
                    let steps = (plan - simulated).abs() / scale;
                    assert!(steps <= 1.001, "{name}: {plan}, simulated {simulated}");
                    // torch's observers saw sums that were rounded in another order
                    let steps = (plan - torch).abs() / scale;
                    assert!(
                        !likewise || steps <= 3.0,
                        "{name}: {plan}, torch's {torch}, step {scale}"
                    );
                }
            }
            println!(
                "{name} for {}: {off} of {elements} a step from the simulation",
                backend.name
            );
        }
    }
}
