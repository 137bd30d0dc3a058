//! What a plan does, layer by layer, and how far it is from the float model.

use qconfig_core::{DType, Isa};
use qconfig_runtime::{BufferError, RunError, Session};

use crate::convert::ReferenceModel;
use crate::float::{InputError, Values};
use crate::graph::NodeId;
use crate::lower::Lowered;
use crate::prepare::Decision;
use crate::tensor::Tensor;

/// One row: a node of the graph and the kernel that computes it.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The node.
    pub node: String,
    /// The pattern matched.
    pub pattern: String,
    /// The operators it is made of.
    pub chain: String,
    /// The dtype config that applies.
    pub dtype_config: String,
    /// Kernel and variant: `q8_conv 4x16c2__avx2`; a reshape costs nothing and has none, a clamp that another
    /// node's step computes has `with` and that node's name.
    pub kernel: String,
    /// Shape of the first input, channels first.
    pub input: Vec<usize>,
    /// Shape of the output, channels first.
    pub output: Vec<usize>,
    /// Signal to quantization noise against float, in decibels, over the samples given; NaN where the plan
    /// does not hold the value, as what follows is computed in the same step.
    pub sqnr_db: f64,
    /// Bytes of packed weights.
    pub blob_bytes: usize,
}

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// An input does not fit.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A buffer does not fit, or the session did not keep every tensor.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The plan failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Signal and noise energy, summed over as many tensors as are added.
///
/// ```
/// use qconfig_quantize::{Energy, Tensor};
/// let tensor = |x| Tensor::new(vec![1], vec![x]).unwrap();
/// let mut energy = Energy::default();
/// energy.add(&tensor(10.0), &tensor(9.0));
/// assert_eq!(energy.db(), 20.0);
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Energy {
    /// Sum of squares of what is right.
    pub signal: f64,
    /// Sum of squares of the differences.
    pub noise: f64,
}

impl Energy {
    /// Adds what was found in place of a tensor.
    pub fn add(&mut self, right: &Tensor, found: &Tensor) {
        for (x, y) in right.data().iter().zip(found.data()) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            self.signal += x * x;
            self.noise += (x - y) * (x - y);
        }
    }

    /// Signal to noise, in decibels ([`sqnr_db`]).
    pub fn db(self) -> f64 {
        sqnr_db(self.signal, self.noise)
    }
}

/// Fills an input of a session with floats, or with indices of its type.
///
/// # Errors
/// [`BufferError`] where the session has no such input, or one of another type or length.
pub fn set_input(
    session: &mut Session<'_>,
    index: usize,
    tensor: &Tensor,
) -> Result<(), BufferError> {
    let Some(integers) = tensor.integers() else {
        return session.set_input_f32(index, tensor.data());
    };
    let id = session.plan().inputs().get(index).copied();
    let tensor = id.and_then(|id| session.plan().tensor(id));
    if tensor.is_some_and(|tensor| tensor.dtype() == DType::int32) {
        // what 32 bits do not hold is outside any table that they count
        let narrow = |x: &i64| i32::try_from(*x).unwrap_or(i32::MAX);
        let integers: Vec<i32> = integers.iter().map(narrow).collect();
        session.set_input_i32(index, &integers)
    } else {
        session.set_input_i64(index, integers)
    }
}

/// `10 log10(sum x^2 / sum (x - y)^2)`: infinite where nothing differs.
pub fn sqnr_db(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise).log10()
}

/// Runs the samples through the float graph and the plan and compares every layer. The session must
/// keep every tensor.
///
/// # Errors
/// [`ReportError`].
pub fn report<'s>(
    model: &ReferenceModel,
    lowered: &Lowered,
    session: &mut Session<'_>,
    samples: impl IntoIterator<Item = &'s [Tensor]>,
) -> Result<Vec<LayerReport>, ReportError> {
    let mut energies = vec![Energy::default(); model.graph().nodes().len()];
    for inputs in samples {
        let float = model.graph().run_all(inputs)?;
        for (i, input) in inputs.iter().enumerate() {
            set_input(session, i, input)?;
        }
        session.run()?;
        compare(model, lowered, session, &float, &mut energies)?;
    }
    let isa = session.isa();
    let nodes = model
        .graph()
        .nodes()
        .iter()
        .zip(model.decisions())
        .zip(&energies)
        .enumerate();
    Ok(nodes
        .map(|(at, ((node, decision), energy))| {
            let mut row = row(model, lowered, node, decision, *energy, isa);
            if let Some(by) = lowered.taken_by(NodeId(at)) {
                row.kernel = format!("with {}", model.graph().nodes()[by.0].name);
            }
            row
        })
        .collect())
}

fn compare(
    model: &ReferenceModel,
    lowered: &Lowered,
    session: &Session<'_>,
    float: &Values,
    energies: &mut [Energy],
) -> Result<(), BufferError> {
    for (node, energy) in model.graph().nodes().iter().zip(energies) {
        let Some(found) = lowered.read(session, node.output)? else {
            continue;
        };
        energy.add(float.get(node.output), &found);
    }
    Ok(())
}

fn row(
    model: &ReferenceModel,
    lowered: &Lowered,
    node: &crate::graph::Node,
    decision: &Decision,
    energy: Energy,
    isa: Isa,
) -> LayerReport {
    let shape = |id| model.graph().value(id).shape.clone();
    let step = lowered
        .plan
        .steps()
        .iter()
        .find(|step| step.name() == node.name);
    let (pattern, dtype_config) = match decision {
        Decision::Quantized(quantized) => (
            quantized.config.pattern.to_string(),
            quantized.dtypes().name.to_string(),
        ),
        Decision::WeightOnly(how) => (node.spelling.dsl.to_string(), how.to_string()),
        Decision::Float(reason) => (node.spelling.dsl.to_string(), format!("float: {reason}")),
    };
    LayerReport {
        node: node.name.clone(),
        pattern,
        chain: node
            .chain
            .iter()
            .map(|spelling| spelling.dsl)
            .collect::<Vec<_>>()
            .join(" + "),
        dtype_config,
        kernel: step.map_or_else(String::new, |step| {
            format!("{} {}", step.kernel().name, lowered.plan.variant(step, isa))
        }),
        input: node.inputs.first().map(|id| shape(*id)).unwrap_or_default(),
        output: shape(node.output),
        sqnr_db: energy.db(),
        blob_bytes: step.map_or(0, qconfig_runtime::Step::blob_bytes),
    }
}
