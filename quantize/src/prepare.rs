//! Prepare: every node gets a decision, every value that will be quantized an observer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use qconfig_core::{
    BackendConfig, BackendPatternConfig, DType, DTypeConfig, NodeName, ObservationType,
    ObserverKind, ObserverSpec, Pattern, QConfig, QConfigMapping, Reason,
};
use regex_lite::Regex;

use crate::fuse::{matched, replace};
use crate::given::Missing;
use crate::graph::{Graph, NodeId, ValueId};
use crate::observer::Observer;
use crate::weight_only::WeightOnly;

/// Position of an observer in a [`Prepared`] model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ObserverId(pub(crate) usize);

/// Whether and how a node is quantized.
#[derive(Clone, Debug)]
pub enum Decision {
    /// By a pattern of the backend.
    Quantized(Quantized),
    /// Its weight alone, which is stored in few bits.
    WeightOnly(WeightOnly),
    /// Not at all.
    Float(FloatReason),
}

/// What applies to a quantized node.
#[derive(Clone, Copy, Debug)]
pub struct Quantized {
    /// What the backend says of the pattern.
    pub config: &'static BackendPatternConfig,
    /// Position of the dtype config that applies.
    pub dtype_config: usize,
    /// What the user asked for.
    pub qconfig: QConfig,
}

impl Quantized {
    /// The dtype config that applies.
    pub fn dtypes(&self) -> &'static DTypeConfig {
        &self.config.dtype_configs[self.dtype_config]
    }

    /// Whether activations are quantized ahead of time.
    pub fn is_static(&self) -> bool {
        let dtypes = self.dtypes();
        !dtypes.is_dynamic && dtypes.input.is_some_and(|input| input.dtype.is_quantized())
    }

    /// Whether the output has the inputs' observer, when there are that many of them.
    pub(crate) fn shares_observer(&self, inputs: usize) -> bool {
        observation(self.config, inputs) == ObservationType::OutputShareObserverWithInput
    }
}

/// Why a node stays float.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum FloatReason {
    /// The mapping gives it no qconfig.
    NoQConfig,
    /// The backend has no such pattern.
    NoPattern,
    /// No dtype config of the pattern fits the qconfig: for each one, why.
    NoDTypeConfig(Vec<Reason>),
    /// Only weights of linear layers are rounded, in blocks along their rows.
    NotRounded,
    /// The model brings its own quantization along, and the node is not part of it.
    Given(Missing),
}

impl fmt::Display for FloatReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQConfig => f.write_str("the qconfig mapping leaves it float"),
            Self::NoPattern => f.write_str("the backend has no pattern for it"),
            Self::NotRounded => f.write_str("it has no weight that is rounded alone"),
            Self::Given(missing) => missing.fmt(f),
            Self::NoDTypeConfig(reasons) => {
                f.write_str("no dtype config fits the qconfig")?;
                reasons
                    .iter()
                    .try_for_each(|reason| write!(f, "; {reason}"))
            }
        }
    }
}

/// A fused graph with decisions and observers.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) graph: Graph,
    pub(crate) backend: &'static BackendConfig,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) observers: Vec<Observer>,
    /// The observer that gives a value's parameters for a dtype.
    pub(crate) observed: BTreeMap<(ValueId, DType), ObserverId>,
    /// Those of `observed` whose observer does not watch the value itself.
    pub(crate) unwatched: BTreeSet<(ValueId, DType)>,
}

/// A mapping cannot be applied.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A regex of the mapping does not compile.
    #[error("module_name_regex `{regex}`: {message}")]
    Regex {
        /// The regex.
        regex: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Matches patterns, decides each node and inserts observers
/// (`torch.ao.quantization.quantize_fx.prepare_fx`).
///
/// # Errors
/// [`PrepareError`] where a regex of the mapping does not compile.
pub fn prepare(
    graph: &Graph,
    backend: &'static BackendConfig,
    mapping: &QConfigMapping,
) -> Result<Prepared, PrepareError> {
    let mut graph = graph.clone();
    let qconfigs = QConfigs::new(&graph, mapping)?;
    let mut decisions = Vec::new();
    while decisions.len() < graph.nodes.len() {
        let decision = decide(&mut graph, decisions.len(), backend, &qconfigs);
        decisions.push(decision);
    }
    let mut prepared = Prepared {
        graph,
        backend,
        decisions,
        observers: Vec::new(),
        observed: BTreeMap::new(),
        unwatched: BTreeSet::new(),
    };
    prepared.insert_observers();
    Ok(prepared)
}

/// Decides the node at a position, merging the nodes of the longest pattern that begins there.
fn decide(
    graph: &mut Graph,
    at: usize,
    backend: &'static BackendConfig,
    qconfigs: &QConfigs,
) -> Decision {
    let Some(qconfig) = qconfigs.of(&graph.nodes[at].name) else {
        return Decision::Float(FloatReason::NoQConfig);
    };
    for len in (1..=Pattern::MAX_CHAIN).rev() {
        let Some((chain, config, node)) = matched(graph, at, len, backend, |_, _| true) else {
            continue;
        };
        // a chain that fusion should have made one module of is matched as that module
        if len > 1 && config.fused_module.is_some() {
            continue;
        }
        // the kernel relies on the weight's bounds too, which PyTorch does not look at for modules
        let verdict = config.strict_verdict(&qconfig);
        let Some(dtype_config) = verdict.dtype_config else {
            return Decision::Float(FloatReason::NoDTypeConfig(verdict.reasons));
        };
        replace(graph, &chain, node);
        return Decision::Quantized(Quantized {
            config,
            dtype_config,
            qconfig,
        });
    }
    Decision::Float(FloatReason::NoPattern)
}

/// The qconfig of each node by name, worked out on the graph as it came.
struct QConfigs(BTreeMap<String, Option<QConfig>>);

impl QConfigs {
    fn new(graph: &Graph, mapping: &QConfigMapping) -> Result<Self, PrepareError> {
        let mut regexes = BTreeMap::new();
        for regex in mapping.regexes() {
            // Python's `re.match` matches at the beginning
            let compiled =
                Regex::new(&format!("^(?:{regex})")).map_err(|error| PrepareError::Regex {
                    regex: regex.into(),
                    message: error.to_string(),
                })?;
            regexes.insert(regex.to_owned(), compiled);
        }
        let matches =
            |regex: &str, name: &str| regexes.get(regex).is_some_and(|regex| regex.is_match(name));
        let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        for node in &graph.nodes {
            // a fused node is looked up as its first operator, as torch does for fused modules
            let spelling = node.chain.first().copied().unwrap_or(node.spelling);
            let parent = node.name.rsplit_once('.').map_or("", |(parent, _)| parent);
            let index = counts
                .entry((parent.to_owned(), spelling.path))
                .or_default();
            let name = NodeName {
                module: &node.name,
                object_type: spelling.path,
                index: *index,
            };
            by_name.insert(node.name.clone(), mapping.qconfig(&name, matches));
            *index += 1;
        }
        Ok(Self(by_name))
    }

    fn of(&self, name: &str) -> Option<QConfig> {
        self.0.get(name).copied().flatten()
    }
}

impl Prepared {
    /// The graph as matched: one node a pattern.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The decision for each node, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The decision for a node.
    pub fn decision(&self, node: NodeId) -> &Decision {
        &self.decisions[node.0]
    }

    /// How many observers there are.
    pub fn observer_count(&self) -> usize {
        self.observed.values().collect::<BTreeSet<_>>().len()
    }

    /// Has an observer that a clamp's input and output share watch the output only, where nothing but the
    /// clamp reads the input. What lies outside the bounds is cut off anyway, so no part of the range is
    /// spent on it: a convolution before a ReLU6 gets all 256 steps for 0 to 6.
    ///
    /// torch watches both, and so does a model without this.
    #[must_use]
    pub fn observe_behind_clamps(mut self) -> Self {
        for (node, decision) in self.graph.nodes.iter().zip(&self.decisions) {
            let (Decision::Quantized(quantized), Some(_), [input]) =
                (decision, node.op.as_activation(), &node.inputs[..])
            else {
                continue;
            };
            let dtypes = quantized.dtypes();
            let (Some(from), Some(to)) = (dtypes.input, dtypes.output) else {
                continue;
            };
            let key = (*input, from.dtype);
            let shared = self.observed.get(&key);
            let is_shared =
                shared.is_some() && shared == self.observed.get(&(node.output, to.dtype));
            if is_shared && self.graph.only_reader(*input).is_some() {
                self.unwatched.insert(key);
            }
        }
        self
    }

    fn insert_observers(&mut self) {
        for (node, decision) in self.graph.nodes.clone().iter().zip(self.decisions.clone()) {
            let Decision::Quantized(quantized) = decision else {
                continue;
            };
            if !quantized.is_static() {
                continue;
            }
            let dtypes = quantized.dtypes();
            let (Some(input), Some(output)) = (dtypes.input, dtypes.output) else {
                continue;
            };
            let spec = quantized.qconfig.activation;
            // torch observes what goes into a sigmoid with the sigmoid's own fixed parameters, where
            // nothing else has observed it, and so cuts it to 0..1
            let input_spec = match spec.kind {
                ObserverKind::FixedQParams { .. } => ObserverSpec::histogram(input.dtype),
                _ => spec,
            };
            let inputs: Vec<ObserverId> = node
                .inputs
                .iter()
                .map(|value| {
                    // a constant is seen as it is: no histogram of it would say more
                    let spec = match self.graph.constant(*value) {
                        Some(_) => ObserverSpec {
                            kind: ObserverKind::MinMax,
                            ..input_spec
                        },
                        None => input_spec,
                    };
                    self.observe((*value, input.dtype), spec)
                })
                .collect();
            match quantized
                .shares_observer(node.inputs.len())
                .then(|| self.share(&inputs))
            {
                Some(Some(id)) => {
                    self.observed.insert((node.output, output.dtype), id);
                }
                _ => {
                    self.observe((node.output, output.dtype), spec);
                }
            }
        }
    }

    fn observe(&mut self, key: (ValueId, DType), spec: ObserverSpec) -> ObserverId {
        let next = ObserverId(self.observers.len());
        let id = *self.observed.entry(key).or_insert(next);
        if id == next {
            self.observers.push(Observer::new(spec));
        }
        id
    }

    /// Makes the first observer of several that of all, so that what a concatenation joins has the same
    /// parameters (`maybe_make_input_output_share_observers`). Whatever shared one of the others follows.
    ///
    /// Fixed parameters neither yield nor spread: torch would cut what stands beside a sigmoid to 0..1.
    fn share(&mut self, inputs: &[ObserverId]) -> Option<ObserverId> {
        let is_fixed = |id: &ObserverId| {
            matches!(
                self.observers[id.0].spec().kind,
                ObserverKind::FixedQParams { .. }
            )
        };
        let free: Vec<ObserverId> = inputs.iter().copied().filter(|id| !is_fixed(id)).collect();
        let first = *free.first().or(inputs.first())?;
        for id in self.observed.values_mut() {
            if free.contains(id) {
                *id = first;
            }
        }
        Some(first)
    }
}

/// How a pattern's output is observed when it has that many tensor arguments.
fn observation(config: &BackendPatternConfig, tensor_args: usize) -> ObservationType {
    config
        .num_tensor_args_to_observation_type
        .iter()
        .find(|(count, _)| usize::from(*count) == tensor_args)
        .map_or(config.observation_type, |(_, observation)| *observation)
}
