//! Patterns of operators, what a backend says of each, and the constant-time index over them.

use core::fmt;

use crate::config::ObservationType;
use crate::constraint::Origin;
use crate::operator::{Role, Spelling};
use crate::{DTypeConfig, Kernel, KernelTable};

/// One operator, or several that a backend runs as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// One operator, or a chain in execution order: `conv2d + bn + relu`.
    Chain(&'static [&'static Spelling]),
    /// A tree whose root is the last operator: `relu(add(_, bn(conv2d)))`.
    Tree(&'static PatternTree),
}

/// A node of a tree pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatternTree {
    /// `_`: whatever comes in.
    Any,
    /// A number: the `0` of `operator::getitem(aten::max_pool2d_with_indices, 0)`.
    Constant(i64),
    /// An operator and its operands; no operands means that they are not looked at.
    Op(&'static Spelling, &'static [PatternTree]),
}

impl Pattern {
    /// The longest chain that PyTorch allows.
    pub const MAX_CHAIN: usize = 3;

    /// The operator that decides which kernel runs: a chain's first, a tree's innermost along its
    /// last operands.
    pub const fn head(&self) -> Option<&'static Spelling> {
        match self {
            Pattern::Chain([head, ..]) => Some(head),
            Pattern::Chain([]) => None,
            Pattern::Tree(tree) => tree_head(tree),
        }
    }

    /// A chain's operators; empty for a tree.
    pub const fn chain(&self) -> &'static [&'static Spelling] {
        match self {
            Pattern::Chain(chain) => chain,
            Pattern::Tree(_) => &[],
        }
    }

    /// The first rule that the chain breaks.
    pub const fn problem(&self) -> Option<PatternProblem> {
        match self {
            Pattern::Chain(chain) => chain_problem(chain),
            Pattern::Tree(_) => None,
        }
    }

    const fn hash(&self) -> u32 {
        match self {
            Pattern::Chain(chain) => chain_hash(chain),
            Pattern::Tree(tree) => tree_hash(tree),
        }
    }
}

const fn tree_head(tree: &PatternTree) -> Option<&'static Spelling> {
    match tree {
        PatternTree::Any | PatternTree::Constant(_) => None,
        PatternTree::Op(spelling, [.., last]) => match tree_head(last) {
            Some(head) => Some(head),
            None => Some(spelling),
        },
        PatternTree::Op(spelling, []) => Some(spelling),
    }
}

impl PatternTree {
    /// The operator that operands lead to, from the last operator on.
    pub const fn at(&self, path: &[u8]) -> Option<&'static Spelling> {
        match (self, path) {
            (PatternTree::Op(spelling, _), []) => Some(spelling),
            (PatternTree::Op(_, operands), [first, rest @ ..])
                if (*first as usize) < operands.len() =>
            {
                operands[*first as usize].at(rest)
            }
            _ => None,
        }
    }
}

const fn mix(hash: u32, next: u32) -> u32 {
    (hash.rotate_left(5) ^ next).wrapping_mul(0x9e37_79b1)
}

const fn chain_hash(chain: &[&Spelling]) -> u32 {
    let mut hash = 0;
    let mut i = 0;
    while i < chain.len() {
        hash = mix(hash, chain[i].hash);
        i += 1;
    }
    hash
}

const fn tree_hash(tree: &PatternTree) -> u32 {
    match tree {
        PatternTree::Any => 1,
        PatternTree::Constant(value) => mix(3, *value as u32),
        PatternTree::Op(spelling, operands) => {
            let mut hash = mix(2, spelling.hash);
            let mut i = 0;
            while i < operands.len() {
                hash = mix(hash, tree_hash(&operands[i]));
                i += 1;
            }
            hash
        }
    }
}

/// The first rule that a chain of operators breaks: length, who may begin, follow and end, and that
/// ranks agree.
pub const fn chain_problem(chain: &[&'static Spelling]) -> Option<PatternProblem> {
    if chain.is_empty() {
        return Some(PatternProblem::Empty);
    }
    if chain.len() > Pattern::MAX_CHAIN {
        return Some(PatternProblem::TooLong { len: chain.len() });
    }
    let mut i = 0;
    while i + 1 < chain.len() {
        let (this, next) = (chain[i].operator, chain[i + 1].operator);
        if i == 0 && !matches!(this.role, Role::Root | Role::Norm) {
            return Some(PatternProblem::CannotBegin {
                operator: this.name,
            });
        }
        if i > 0 && matches!(this.role, Role::Activation) {
            return Some(PatternProblem::MustBeLast {
                operator: this.name,
            });
        }
        if !matches!(next.role, Role::Norm | Role::Activation) {
            return Some(PatternProblem::CannotFollow {
                operator: next.name,
            });
        }
        if this.rank != 0 && next.rank != 0 && this.rank != next.rank {
            return Some(PatternProblem::Ranks {
                first: this.name,
                second: next.name,
                ranks: (this.rank, next.rank),
            });
        }
        i += 1;
    }
    None
}

/// A rule that a pattern breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternProblem {
    /// No operator.
    #[error("a pattern needs at least one operator")]
    Empty,
    /// More than PyTorch allows.
    #[error("patterns have at most {max} operators, this one has {len}", max = Pattern::MAX_CHAIN)]
    TooLong {
        /// Operators found.
        len: usize,
    },
    /// The first operator of a chain must be a root.
    #[error("`{operator}` cannot start a fused pattern")]
    CannotBegin {
        /// The operator.
        operator: &'static str,
    },
    /// Activations end a chain.
    #[error("`{operator}` must be last in a fused pattern")]
    MustBeLast {
        /// The operator.
        operator: &'static str,
    },
    /// Only normalizations and activations follow.
    #[error("`{operator}` cannot follow another operator in a fused pattern")]
    CannotFollow {
        /// The operator.
        operator: &'static str,
    },
    /// A 1-D operator beside a 2-D one.
    #[error("`{first} + {second}`: ranks differ ({} and {})", ranks.0, ranks.1)]
    Ranks {
        /// The first operator.
        first: &'static str,
        /// The one behind it.
        second: &'static str,
        /// Their spatial ranks.
        ranks: (u8, u8),
    },
}

impl PatternProblem {
    /// The message for a `const` panic, which cannot format.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::Empty => "a pattern needs at least one operator",
            Self::TooLong { .. } => "patterns have at most 3 operators",
            Self::CannotBegin { .. } => "this operator cannot start a fused pattern",
            Self::MustBeLast { .. } => "an activation must be last in a fused pattern",
            Self::CannotFollow { .. } => "this operator cannot follow another in a fused pattern",
            Self::Ranks { .. } => "the ranks of the operators differ",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Chain(chain) => {
                for (i, spelling) in chain.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" + ")?;
                    }
                    f.write_str(spelling.dsl)?;
                }
                Ok(())
            }
            Pattern::Tree(tree) => tree.fmt(f),
        }
    }
}

impl fmt::Display for PatternTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternTree::Any => f.write_str("_"),
            PatternTree::Constant(value) => write!(f, "{value}"),
            PatternTree::Op(spelling, []) => f.write_str(spelling.dsl),
            PatternTree::Op(spelling, operands) => {
                write!(f, "{}(", spelling.dsl)?;
                for (i, operand) in operands.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    operand.fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// How a fused module is made from the modules of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Fuser {
    /// The modules in a row, as they are: `sequential`.
    Sequential,
    /// Batch normalization folded into a convolution: `conv_bn`.
    ConvBn,
    /// The same with an activation behind it: `conv_bn_relu`.
    ConvBnRelu,
    /// Batch normalization folded into a transposed convolution: `conv_transpose_bn`.
    ConvTransposeBn,
    /// Batch normalization folded into a linear layer: `linear_bn`.
    LinearBn,
    /// The same with a leaky ReLU behind it: `linear_bn_leaky_relu`.
    LinearBnLeakyRelu,
    /// A convolution whose output another value is added to: `conv_add`.
    ConvAdd,
    /// The same with batch normalization folded: `conv_bn_add`.
    ConvBnAdd,
    /// A convolution, the sum and a ReLU: `conv_add_relu`.
    ConvAddRelu,
    /// The same with batch normalization folded: `conv_bn_add_relu`.
    ConvBnAddRelu,
}

impl Fuser {
    /// Every one.
    pub const ALL: [Fuser; 10] = [
        Self::Sequential,
        Self::ConvBn,
        Self::ConvBnRelu,
        Self::ConvTransposeBn,
        Self::LinearBn,
        Self::LinearBnLeakyRelu,
        Self::ConvAdd,
        Self::ConvBnAdd,
        Self::ConvAddRelu,
        Self::ConvBnAddRelu,
    ];

    /// How a spec names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::ConvBn => "conv_bn",
            Self::ConvBnRelu => "conv_bn_relu",
            Self::ConvTransposeBn => "conv_transpose_bn",
            Self::LinearBn => "linear_bn",
            Self::LinearBnLeakyRelu => "linear_bn_leaky_relu",
            Self::ConvAdd => "conv_add",
            Self::ConvBnAdd => "conv_bn_add",
            Self::ConvAddRelu => "conv_add_relu",
            Self::ConvBnAddRelu => "conv_bn_add_relu",
        }
    }

    /// The one that a spec names so.
    pub fn from_name(name: &str) -> Option<Fuser> {
        Self::ALL.into_iter().find(|fuser| fuser.name() == name)
    }
}

/// What a backend says of one pattern (`torch.ao.quantization.backend_config.BackendPatternConfig`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackendPatternConfig {
    /// The pattern.
    pub pattern: Pattern,
    /// How its output is observed.
    pub observation_type: ObservationType,
    /// The dtype configs it supports, preferred first.
    pub dtype_configs: &'static [DTypeConfig],
    /// For each dtype config, which of the backend's kernels computes it; `None` is `kernel none`.
    pub kernels: &'static [Option<u8>],
    /// The float module that convert swaps.
    pub root_module: Option<&'static Spelling>,
    /// Its counterpart for quantization-aware training.
    pub qat_module: Option<&'static Spelling>,
    /// What convert puts in its place.
    pub reference_quantized_module: Option<&'static Spelling>,
    /// What fusion makes of the chain.
    pub fused_module: Option<&'static Spelling>,
    /// How fusion makes it.
    pub fuser: Option<Fuser>,
    /// The operands to go through from a tree pattern's last operator to its root, where that is not the
    /// innermost along the last operands: `[0, 1]` is the second operand of the first operand.
    pub root_node: Option<&'static [u8]>,
    /// The operand paths to a tree pattern's further inputs.
    pub extra_inputs: &'static [&'static [u8]],
    /// Observation type by the number of tensor arguments.
    pub num_tensor_args_to_observation_type: &'static [(u8, ObservationType)],
    /// Which positional argument is the `weight`, the `bias`.
    pub input_type_to_index: &'static [(&'static str, u8)],
    /// Where it is declared.
    pub origin: Origin,
}

impl BackendPatternConfig {
    /// The operator that decides which kernel runs: [`Pattern::head`], or what `root_node` leads to.
    pub const fn head(&self) -> Option<&'static Spelling> {
        match (&self.pattern, self.root_node) {
            (Pattern::Tree(tree), Some(path)) => tree.at(path),
            (pattern, _) => pattern.head(),
        }
    }

    /// A pattern with defaults for the rest.
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            observation_type: ObservationType::OutputUseDifferentObserverAsInput,
            dtype_configs: &[],
            kernels: &[],
            root_module: None,
            qat_module: None,
            reference_quantized_module: None,
            fused_module: None,
            fuser: None,
            root_node: None,
            extra_inputs: &[],
            num_tensor_args_to_observation_type: &[],
            input_type_to_index: &[],
            origin: Origin { file: "", line: 0 },
        }
    }
}

/// A hash table over the patterns of a backend, filled at compile time: open addressing, one `u16` a
/// slot, [`PatternIndex::EMPTY`] where there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct PatternIndex {
    slots: &'static [u16],
}

impl PatternIndex {
    /// Marks a slot without a pattern.
    pub const EMPTY: u16 = u16::MAX;

    /// Slots for that many patterns: a power of two, at most half full.
    pub const fn slots(patterns: usize) -> usize {
        (patterns * 2 + 1).next_power_of_two()
    }

    /// The table's contents; `N` is [`PatternIndex::slots`] of the number of patterns.
    #[track_caller]
    pub const fn fill<const N: usize>(patterns: &[BackendPatternConfig]) -> [u16; N] {
        assert!(
            N.is_power_of_two() && patterns.len() < N,
            "the pattern index is too small"
        );
        assert!(
            patterns.len() < Self::EMPTY as usize,
            "a backend has at most 65,534 patterns"
        );
        let mut slots = [Self::EMPTY; N];
        let mut i = 0;
        while i < patterns.len() {
            let mut at = patterns[i].pattern.hash() as usize & (N - 1);
            while slots[at] != Self::EMPTY {
                at = (at + 1) & (N - 1);
            }
            slots[at] = i as u16;
            i += 1;
        }
        slots
    }

    /// The index over a filled table.
    pub const fn new(slots: &'static [u16]) -> Self {
        Self { slots }
    }

    fn candidates(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len())
            .map_while(move |step| self.slots.get((hash as usize).wrapping_add(step) & mask))
            .take_while(|slot| **slot != Self::EMPTY)
            .map(|slot| usize::from(*slot))
    }
}

/// All that a backend says (`torch.ao.quantization.backend_config.BackendConfig`), with its kernels.
#[derive(Clone, Copy, Debug)]
pub struct BackendConfig {
    /// Its name: `qnnpack`.
    pub name: &'static str,
    /// Its patterns, in order.
    pub configs: &'static [BackendPatternConfig],
    /// The patterns by hash.
    pub index: PatternIndex,
    /// The kernels that [`BackendPatternConfig::kernels`] counts in.
    pub kernels: &'static [&'static Kernel],
}

impl BackendConfig {
    /// What the backend says of a chain of operators; constant time, no allocation.
    pub fn find(&self, chain: &[&Spelling]) -> Option<&'static BackendPatternConfig> {
        self.index
            .candidates(chain_hash(chain))
            .filter_map(|at| self.configs.get(at))
            .find(|config| matches!(config.pattern, Pattern::Chain(found) if found == chain))
    }

    /// What the backend says of a pattern.
    pub fn find_pattern(&self, pattern: &Pattern) -> Option<&'static BackendPatternConfig> {
        self.index
            .candidates(pattern.hash())
            .filter_map(|at| self.configs.get(at))
            .find(|config| config.pattern == *pattern)
    }

    /// The kernel bound to a dtype config (by position) of a pattern.
    pub fn kernel(
        &self,
        config: &BackendPatternConfig,
        dtype_config: usize,
    ) -> Option<&'static Kernel> {
        let at = (*config.kernels.get(dtype_config)?)?;
        self.kernels.get(usize::from(at)).copied()
    }

    /// The kernel of that name.
    pub fn kernel_named(&self, name: &str) -> Option<&'static Kernel> {
        KernelTable::new(self.kernels).named(name)
    }

    /// How many (pattern, dtype config) pairs there are, and how many of them have a kernel.
    pub fn coverage(&self) -> (usize, usize) {
        let pairs = self
            .configs
            .iter()
            .map(|config| config.dtype_configs.len())
            .sum();
        let bound = self
            .configs
            .iter()
            .flat_map(|config| config.kernels)
            .flatten()
            .count();
        (pairs, bound)
    }
}
