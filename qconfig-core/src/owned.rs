//! Configs that come from outside: owned, in the shape of PyTorch's `BackendConfig.to_dict()`,
//! checked by the same rules as a spec in source.
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! use qconfig_core::owned::BackendConfig;
//! let json = r#"{ "name": "mine", "configs": [ {
//!     "pattern": ["torch.nn.Conv2d", "torch.nn.ReLU"],
//!     "observation_type": "OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT",
//!     "dtype_configs": [ { "input_dtype": { "dtype": "quint8" }, "output_dtype": { "dtype": "quint8" },
//!                          "weight_dtype": { "dtype": "qint8" }, "bias_dtype": "float32" } ] } ] }"#;
//! let config: BackendConfig = serde_json::from_str(json).unwrap();
//! assert!(config.check().is_ok());
//! # }
//! ```

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::config::{ConfigProblem, ObservationType};
use crate::constraint::BoundProblem;
use crate::operator::{Spelling, by_path};
use crate::pattern::{Fuser, PatternProblem, PatternTree, chain_problem};
use crate::{DType, config_problem};

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// [`crate::BackendConfig`] without kernels.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
pub struct BackendConfig {
    /// The backend's name.
    pub name: String,
    /// Its patterns, in order.
    pub configs: Vec<PatternConfig>,
}

/// [`crate::BackendPatternConfig`] by PyTorch's paths.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
pub struct PatternConfig {
    /// One operator or a chain.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pattern: Option<Chain>,
    /// A tree, in PyTorch's reversed nested form.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pattern_complex_format: Option<Nested>,
    /// How the output is observed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub observation_type: ObservationType,
    /// Dtype configs, preferred first.
    #[cfg_attr(feature = "serde", serde(default))]
    pub dtype_configs: Vec<DTypeConfig>,
    /// The float module that convert swaps.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub root_module: Option<String>,
    /// Its counterpart for quantization-aware training.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub qat_module: Option<String>,
    /// What convert puts in its place.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub reference_quantized_module_for_root: Option<String>,
    /// What fusion makes of the chain.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub fused_module: Option<String>,
    /// How fusion makes it.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub fuser_method: Option<Fuser>,
    /// The operands to go through from a nested pattern's last operator to its root.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub root_node: Option<Vec<u8>>,
    /// The same for each further input of a fused module.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub extra_inputs: Vec<Vec<u8>>,
    /// Observation type by the number of tensor arguments.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "BTreeMap::is_empty")
    )]
    pub num_tensor_args_to_observation_type: BTreeMap<u8, ObservationType>,
    /// Which positional argument is the `weight`, the `bias`.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "BTreeMap::is_empty")
    )]
    pub input_type_to_index: BTreeMap<String, u8>,
}

/// One operator, or a chain in execution order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(untagged))]
pub enum Chain {
    /// One operator's path.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Chain {
    /// The paths in order.
    pub fn paths(&self) -> &[String] {
        match self {
            Chain::One(path) => core::slice::from_ref(path),
            Chain::Many(paths) => paths,
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.paths().join(" + "))
    }
}

/// A tree pattern: an operator, or an operator with its operands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(untagged))]
pub enum Nested {
    /// An operator's path, or `MatchAllNode`.
    Leaf(String),
    /// A number among the operands.
    Constant(i64),
    /// The operator first, then its operands.
    Node(Vec<Nested>),
}

/// [`crate::DTypeConfig`].
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
pub struct DTypeConfig {
    /// Activations that come in.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub input_dtype: Option<DTypeWithConstraints>,
    /// The activation that goes out.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub output_dtype: Option<DTypeWithConstraints>,
    /// The weight.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub weight_dtype: Option<DTypeWithConstraints>,
    /// The bias.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub bias_dtype: Option<DType>,
    /// Whether activations are quantized while the model runs; left out where they are not.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "core::ops::Not::not")
    )]
    pub is_dynamic: bool,
}

/// [`crate::DTypeWithConstraints`].
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
pub struct DTypeWithConstraints {
    /// The dtype.
    pub dtype: DType,
    /// The smallest quantized value that may be used.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub quant_min_lower_bound: Option<i64>,
    /// The largest quantized value that may be used.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub quant_max_upper_bound: Option<i64>,
    /// The smallest scale that may occur.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub scale_min_lower_bound: Option<f64>,
    /// The largest scale that may occur.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub scale_max_upper_bound: Option<f64>,
    /// The only scale allowed.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub scale_exact_match: Option<f64>,
    /// The only zero point allowed.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub zero_point_exact_match: Option<i64>,
}

impl From<&DTypeWithConstraints> for crate::DTypeWithConstraints {
    fn from(owned: &DTypeWithConstraints) -> Self {
        Self {
            quant_min_lower_bound: owned.quant_min_lower_bound,
            quant_max_upper_bound: owned.quant_max_upper_bound,
            scale_min_lower_bound: owned.scale_min_lower_bound,
            scale_max_upper_bound: owned.scale_max_upper_bound,
            scale_exact_match: owned.scale_exact_match,
            zero_point_exact_match: owned.zero_point_exact_match,
            ..Self::new(owned.dtype)
        }
    }
}

impl From<&crate::DTypeWithConstraints> for DTypeWithConstraints {
    fn from(from: &crate::DTypeWithConstraints) -> Self {
        Self {
            dtype: from.dtype,
            quant_min_lower_bound: from.quant_min_lower_bound,
            quant_max_upper_bound: from.quant_max_upper_bound,
            scale_min_lower_bound: from.scale_min_lower_bound,
            scale_max_upper_bound: from.scale_max_upper_bound,
            scale_exact_match: from.scale_exact_match,
            zero_point_exact_match: from.zero_point_exact_match,
        }
    }
}

impl From<&crate::DTypeConfig> for DTypeConfig {
    fn from(from: &crate::DTypeConfig) -> Self {
        Self {
            input_dtype: from.input.as_ref().map(Into::into),
            output_dtype: from.output.as_ref().map(Into::into),
            weight_dtype: from.weight.as_ref().map(Into::into),
            bias_dtype: from.bias,
            is_dynamic: from.is_dynamic,
        }
    }
}

fn path(spelling: Option<&'static Spelling>) -> Option<String> {
    spelling.map(|spelling| spelling.path.to_owned())
}

impl From<&PatternTree> for Nested {
    fn from(tree: &PatternTree) -> Self {
        match tree {
            PatternTree::Any => Nested::Leaf("MatchAllNode".into()),
            PatternTree::Constant(value) => Nested::Constant(*value),
            PatternTree::Op(spelling, []) => Nested::Leaf(spelling.path.into()),
            PatternTree::Op(spelling, operands) => {
                let head = Nested::Leaf(spelling.path.into());
                Nested::Node(
                    core::iter::once(head)
                        .chain(operands.iter().map(Into::into))
                        .collect(),
                )
            }
        }
    }
}

/// A pattern as PyTorch's own functions hold it, nested with the last operator first: `a + b + c` is `(c, (b, a))`
/// (`_get_pattern_in_reversed_nested_tuple_format`).
impl From<&crate::Pattern> for Nested {
    fn from(pattern: &crate::Pattern) -> Self {
        match pattern {
            crate::Pattern::Tree(tree) => (*tree).into(),
            crate::Pattern::Chain(chain) => {
                let leaf = |spelling: &&Spelling| Nested::Leaf(spelling.path.into());
                let (first, rest) = match chain {
                    [first, rest @ ..] => (leaf(first), rest),
                    [] => return Nested::Node(Vec::new()),
                };
                rest.iter().fold(first, |inner, next| {
                    Nested::Node(alloc::vec![leaf(next), inner])
                })
            }
        }
    }
}

impl From<&crate::BackendPatternConfig> for PatternConfig {
    fn from(from: &crate::BackendPatternConfig) -> Self {
        let (pattern, nested) = match &from.pattern {
            crate::Pattern::Chain([one]) => (Some(Chain::One(one.path.into())), None),
            crate::Pattern::Chain(chain) => (
                Some(Chain::Many(
                    chain.iter().map(|spelling| spelling.path.into()).collect(),
                )),
                None,
            ),
            crate::Pattern::Tree(tree) => (None, Some((*tree).into())),
        };
        Self {
            pattern,
            pattern_complex_format: nested,
            observation_type: from.observation_type,
            dtype_configs: from.dtype_configs.iter().map(Into::into).collect(),
            root_module: path(from.root_module),
            qat_module: path(from.qat_module),
            reference_quantized_module_for_root: path(from.reference_quantized_module),
            fused_module: path(from.fused_module),
            fuser_method: from.fuser,
            root_node: from.root_node.map(<[u8]>::to_vec),
            extra_inputs: from.extra_inputs.iter().map(|path| path.to_vec()).collect(),
            num_tensor_args_to_observation_type: from
                .num_tensor_args_to_observation_type
                .iter()
                .copied()
                .collect(),
            input_type_to_index: from
                .input_type_to_index
                .iter()
                .map(|(name, index)| ((*name).to_string(), *index))
                .collect(),
        }
    }
}

impl From<&crate::BackendConfig> for BackendConfig {
    fn from(from: &crate::BackendConfig) -> Self {
        Self {
            name: from.name.into(),
            configs: from.configs.iter().map(Into::into).collect(),
        }
    }
}

/// Something wrong with a config from outside, and where.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Problem {
    /// The place: `configs[3] (torch.nn.Conv2d): dtype_configs[0].weight_dtype`.
    pub place: String,
    /// What is wrong there.
    pub kind: ProblemKind,
}

/// What is wrong.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Bounds that break a rule.
    #[error("{0}")]
    Bound(#[from] BoundProblem),
    /// A combination of dtypes that breaks a rule.
    #[error("the dtype config {0}")]
    Config(#[from] ConfigProblem),
    /// A chain that breaks a rule.
    #[error("{0}")]
    Pattern(#[from] PatternProblem),
    /// No pattern, or both forms of it.
    #[error("exactly one of `pattern` and `pattern_complex_format` must be set")]
    PatternForm,
    /// No dtype config.
    #[error("the pattern has no dtype config; list at least one, or leave the pattern out")]
    NoDTypeConfig,
    /// The same pattern twice; PyTorch lets the last one win in silence.
    #[error("the pattern is configured twice, first at configs[{first}]")]
    Duplicate {
        /// Position of the first.
        first: usize,
    },
    /// A path that the vocabulary does not have.
    #[error("`{0}` is not an operator that qconfig knows")]
    UnknownOperator(String),
    /// A shared observer over differing dtypes.
    #[error(
        "a shared observer needs equal input and output, but dtype config {at} maps `{input}` to `{output}`"
    )]
    SharedObserver {
        /// Position of the dtype config.
        at: usize,
        /// Its input.
        input: DType,
        /// Its output.
        output: DType,
    },
}

impl BackendConfig {
    /// Checks everything by the rules of `backend_config!`; lints are not reported.
    ///
    /// # Errors
    /// Every [`Problem`] found, in order.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, config) in self.configs.iter().enumerate() {
            let title = match (&config.pattern, &config.pattern_complex_format) {
                (Some(chain), None) => chain.to_string(),
                (None, Some(_)) => "nested pattern".to_string(),
                _ => "no pattern".to_string(),
            };
            let place = format!("configs[{at}] ({title})");
            let first = self.configs.iter().take(at).position(|earlier| {
                (&earlier.pattern, &earlier.pattern_complex_format)
                    == (&config.pattern, &config.pattern_complex_format)
            });
            if let Some(first) = first {
                problems.push(Problem {
                    place: place.clone(),
                    kind: ProblemKind::Duplicate { first },
                });
            }
            config.check(&place, &mut problems);
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}

impl PatternConfig {
    fn check(&self, place: &str, problems: &mut Vec<Problem>) {
        let mut add = |place: String, kind: ProblemKind| problems.push(Problem { place, kind });
        match (&self.pattern, &self.pattern_complex_format) {
            (Some(chain), None) => {
                let mut known = Vec::new();
                for path in chain.paths() {
                    match by_path(path) {
                        Some(spelling) => known.push(spelling),
                        None => add(place.into(), ProblemKind::UnknownOperator(path.clone())),
                    }
                }
                if known.len() == chain.paths().len()
                    && let Some(problem) = chain_problem(&known)
                {
                    add(place.into(), problem.into());
                }
            }
            (None, Some(nested)) => nested.unknown(&mut |path| {
                add(place.into(), ProblemKind::UnknownOperator(path.into()));
            }),
            _ => add(place.into(), ProblemKind::PatternForm),
        }
        let modules = [
            &self.root_module,
            &self.qat_module,
            &self.reference_quantized_module_for_root,
            &self.fused_module,
        ];
        for path in modules.into_iter().flatten() {
            if by_path(path).is_none() {
                add(place.into(), ProblemKind::UnknownOperator(path.clone()));
            }
        }
        if self.dtype_configs.is_empty() {
            add(place.into(), ProblemKind::NoDTypeConfig);
        }
        for (at, config) in self.dtype_configs.iter().enumerate() {
            let here = format!("{place}: dtype_configs[{at}]");
            let parts = [
                ("input_dtype", &config.input_dtype),
                ("output_dtype", &config.output_dtype),
                ("weight_dtype", &config.weight_dtype),
            ];
            for (field, part) in parts {
                let Some(part) = part else { continue };
                for problem in crate::DTypeWithConstraints::from(part).problems().iter() {
                    if !problem.is_lint() {
                        add(format!("{here}.{field}"), problem.into());
                    }
                }
            }
            match (&config.input_dtype, &config.output_dtype) {
                (Some(input), Some(output)) => {
                    let weight = config.weight_dtype.as_ref().map(|weight| weight.dtype);
                    let problem = config_problem(
                        input.dtype,
                        output.dtype,
                        weight,
                        config.bias_dtype,
                        config.is_dynamic,
                    );
                    if let Some(problem) = problem
                        && !problem.is_lint()
                    {
                        add(here.clone(), problem.into());
                    }
                    if self.observation_type == ObservationType::OutputShareObserverWithInput
                        && input.dtype != output.dtype
                    {
                        add(
                            here,
                            ProblemKind::SharedObserver {
                                at,
                                input: input.dtype,
                                output: output.dtype,
                            },
                        );
                    }
                }
                (None, _) => add(here, ConfigProblem::Missing { field: "input" }.into()),
                (_, None) => add(here, ConfigProblem::Missing { field: "output" }.into()),
            }
        }
    }
}

impl Nested {
    /// Reports every path that the vocabulary does not have.
    fn unknown(&self, report: &mut impl FnMut(&str)) {
        // a stack of its own: a hostile nesting must not exhaust the program's
        let mut stack = alloc::vec![self];
        while let Some(part) = stack.pop() {
            match part {
                Nested::Constant(_) => {}
                Nested::Leaf(path) if path == "MatchAllNode" || by_path(path).is_some() => {}
                Nested::Leaf(path) => report(path),
                Nested::Node(parts) => stack.extend(parts.iter().rev()),
            }
        }
    }
}

#[cfg(feature = "serde")]
impl Serialize for crate::BackendConfig {
    /// In the shape of PyTorch's `BackendConfig.to_dict()`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BackendConfig::from(self).serialize(serializer)
    }
}
