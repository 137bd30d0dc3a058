//! A spec with its names resolved and its groups spread: what [`crate::expand`] writes down.

use proc_macro2::{Ident, Span};
use qconfig_core::{DType, DTypeWithConstraints, Fuser};
use syn::{Attribute, LitStr, Path, Visibility};

use crate::ast::{
    Attrs, Group, KernelSet, ModuleRole, Observe, Op, PatternExpr, PatternKind, Scale, ScaleValue,
    Spec, Tree,
};
use crate::check;
use crate::diag::{Diags, Place};

/// A backend.
pub struct Model {
    /// Docs and the like of the `backend` statement.
    pub attrs: Attrs,
    /// `pub`
    pub vis: Visibility,
    /// `QNNPACK`
    pub ident: Ident,
    /// `"qnnpack"`
    pub name: LitStr,
    /// Every dtype config, declared order.
    pub configs: Vec<ConfigModel>,
    /// Scale bounds that are constants: rustc checks their values.
    pub constants: Vec<Path>,
    /// Every pattern, in order.
    pub patterns: Vec<PatternModel>,
    /// Every kernel family that is bound, in the order of first use.
    pub kernels: Vec<KernelModel>,
}

/// A dtype with its bounds, named or used in place.
#[derive(Clone)]
pub struct DTypeModel {
    /// The name of its `dtype` statement.
    pub name: Option<String>,
    /// The dtype as the user wrote it.
    pub base: Ident,
    /// The dtype, if it is PyTorch's; else rustc says so.
    pub dtype: Option<DType>,
    /// Smallest and largest quantized value.
    pub quant: Option<(i64, i64)>,
    /// `scale >=`
    pub scale_min: Option<Scale>,
    /// `scale <=`
    pub scale_max: Option<Scale>,
    /// `scale ==`
    pub scale_exact: Option<Scale>,
    /// `zero_point ==`
    pub zero_point: Option<i64>,
    /// Where the bounds are written.
    pub origin: Span,
}

impl DTypeModel {
    /// A dtype without bounds.
    pub fn plain(base: &Ident) -> Self {
        Self {
            name: None,
            base: base.clone(),
            dtype: DType::from_name(&base.to_string()),
            quant: None,
            scale_min: None,
            scale_max: None,
            scale_exact: None,
            zero_point: None,
            origin: base.span(),
        }
    }

    /// The same in `qconfig-core`'s words, as far as the macro knows the values.
    pub fn constraints(&self) -> Option<DTypeWithConstraints> {
        let number = |scale: &Option<Scale>| match scale {
            Some(Scale {
                value: ScaleValue::Number(value),
                ..
            }) => Some(*value),
            _ => None,
        };
        let mut dtype = DTypeWithConstraints::new(self.dtype?);
        dtype.quant_min_lower_bound = self.quant.map(|(min, _)| min);
        dtype.quant_max_upper_bound = self.quant.map(|(_, max)| max);
        dtype.scale_min_lower_bound = number(&self.scale_min);
        dtype.scale_max_upper_bound = number(&self.scale_max);
        dtype.scale_exact_match = number(&self.scale_exact);
        dtype.zero_point_exact_match = self.zero_point;
        Some(dtype)
    }

    /// `qint8, -127..=127, scale >= 2^-12`
    pub fn readable(&self) -> String {
        let mut text = match self.dtype {
            Some(dtype) => dtype.name().to_owned(),
            None => self.base.to_string(),
        };
        if let Some((min, max)) = self.quant {
            text.push_str(&format!(", {min}..={max}"));
        }
        let scales = [
            (">=", &self.scale_min),
            ("<=", &self.scale_max),
            ("==", &self.scale_exact),
        ];
        for (op, scale) in scales {
            if let Some(scale) = scale {
                text.push_str(&format!(", scale {op} {}", scale.text));
            }
        }
        if let Some(zero_point) = self.zero_point {
            text.push_str(&format!(", zero point {zero_point}"));
        }
        text
    }
}

/// A dtype config.
#[derive(Clone)]
pub struct ConfigModel {
    /// Its name.
    pub ident: Ident,
    /// Docs and the like; `cfg`s of its dtypes included.
    pub attrs: Attrs,
    /// `dynamic`
    pub dynamic: bool,
    /// `input`
    pub input: Option<DTypeModel>,
    /// `output`
    pub output: Option<DTypeModel>,
    /// `weight`
    pub weight: Option<DTypeModel>,
    /// `bias`
    pub bias: Option<DTypeModel>,
    /// Fields that the struct does not have: rustc says so.
    pub unknown: Vec<(Ident, DTypeModel)>,
    /// Whether a rule is broken: then nothing that depends on it is checked.
    pub broken: bool,
    /// Whether it came with `extends`.
    pub inherited: bool,
    /// Whether a pattern lists it.
    pub used: bool,
}

impl ConfigModel {
    /// `input qint8, scale >= 2^-12 | output .. | weight .. | bias float32`
    pub fn readable(&self) -> String {
        let fields = [
            ("input", &self.input),
            ("output", &self.output),
            ("weight", &self.weight),
            ("bias", &self.bias),
        ];
        let mut parts: Vec<String> = fields
            .into_iter()
            .filter_map(|(name, dtype)| Some(format!("{name} {}", dtype.as_ref()?.readable())))
            .collect();
        if self.dynamic {
            parts.push("dynamic".into());
        }
        parts.join(" | ")
    }

    /// The same for configs that say the same under different names.
    pub fn key(&self) -> String {
        self.readable()
    }
}

/// A dtype config in the list of a pattern.
#[derive(Clone)]
pub struct ConfigRef {
    /// Which of [`Model::configs`].
    pub config: usize,
    /// Where it is named.
    pub at: Ident,
    /// `cfg`s of the config and of the lists it came by.
    pub cfgs: Vec<Attribute>,
}

/// One step of the choice of a kernel: taken where its `cfg`s hold, else the next is tried.
#[derive(Clone)]
pub struct Binding {
    /// Which of [`Model::kernels`]; `None` is `kernel none`.
    pub kernel: Option<usize>,
    /// `cfg`s of the clause.
    pub cfgs: Vec<Attribute>,
    /// Where the clause stands.
    pub at: Place,
}

/// `fix quint8 { .. }`
#[derive(Clone)]
pub struct Fix {
    /// The dtype that is fixed.
    pub base: Ident,
    /// What is set.
    pub bounds: DTypeModel,
}

/// What the clauses of a pattern say, kernels apart.
#[derive(Clone, Default)]
pub struct Details {
    /// `observe`
    pub observe: Option<(Observe, Place)>,
    /// `observe by tensor_args`
    pub observe_by: Vec<(u8, Observe)>,
    /// `args`
    pub args: Vec<(Ident, u8)>,
    /// `root`, `qat`, `reference`, `fused`
    pub modules: Vec<(ModuleRole, Op)>,
    /// `fuser`
    pub fuser: Option<Fuser>,
    /// `fix`
    pub fix: Option<Fix>,
    /// `root_node`
    pub root_node: Option<Vec<u8>>,
    /// `extra_inputs`
    pub extra_inputs: Vec<Vec<u8>>,
}

/// A pattern.
#[derive(Clone)]
pub struct PatternModel {
    /// What it matches.
    pub expr: PatternExpr,
    /// The same for all ways to write it.
    pub key: String,
    /// Where it is configured: the pattern, or the `group` statement that brought it.
    pub at: Place,
    /// The group that brought it.
    pub group: Option<String>,
    /// `cfg`s of its statement and of the group.
    pub cfgs: Vec<Attribute>,
    /// What it supports.
    pub refs: Vec<ConfigRef>,
    /// For each of `refs`, how its kernel is chosen; empty where no clause binds one.
    pub bindings: Vec<Vec<Binding>>,
    /// The rest.
    pub details: Details,
    /// Whether the macro has checked the chain, so that rustc need not.
    pub checked: bool,
    /// Whether it came with `extends`.
    pub inherited: bool,
}

impl PatternModel {
    /// The operator that decides which kernel runs.
    pub fn head(&self) -> Option<&Op> {
        match &self.expr.kind {
            PatternKind::Chain(chain) => chain.first(),
            PatternKind::Tree(tree) => match &self.details.root_node {
                Some(path) => tree.at(path),
                None => tree.head(),
            },
        }
    }

    /// All that it says, for comparison.
    pub fn signature(&self) -> String {
        let details = &self.details;
        let configs: Vec<usize> = self.refs.iter().map(|found| found.config).collect();
        let kernels: Vec<Vec<Option<usize>>> = self
            .bindings
            .iter()
            .map(|chain| chain.iter().map(|binding| binding.kernel).collect())
            .collect();
        let modules: Vec<String> = details
            .modules
            .iter()
            .map(|(role, op)| format!("{role:?} {}", op.key()))
            .collect();
        let args: Vec<String> = details
            .args
            .iter()
            .map(|(name, index)| format!("{name} {index}"))
            .collect();
        format!(
            "{configs:?} {kernels:?} {modules:?} {args:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            details.observe.map(|(kind, _)| kind),
            details.observe_by,
            details.fuser,
            details.root_node,
            details.extra_inputs,
            details.fix.as_ref().map(|fix| fix.bounds.readable()),
        )
    }
}

impl Tree {
    /// The operator that operands lead to, from the last operator on.
    pub fn at(&self, path: &[u8]) -> Option<&Op> {
        match (self, path) {
            (Tree::Op(op, _), []) => Some(op),
            (Tree::Op(_, operands), [first, rest @ ..]) => {
                operands.get(usize::from(*first))?.at(rest)
            }
            _ => None,
        }
    }

    /// Whether operands lead somewhere, to an operator or not.
    pub fn leads(&self, path: &[u8]) -> bool {
        match (self, path) {
            (_, []) => true,
            (Tree::Op(_, operands), [first, rest @ ..]) => operands
                .get(usize::from(*first))
                .is_some_and(|operand| operand.leads(rest)),
            _ => false,
        }
    }

    /// Its operators, the last one first.
    pub fn ops<'t>(&'t self, ops: &mut Vec<&'t Op>) {
        if let Tree::Op(op, operands) = self {
            ops.push(op);
            operands.iter().for_each(|operand| operand.ops(ops));
        }
    }

    /// The innermost operator along the last operands.
    pub fn head(&self) -> Option<&Op> {
        match self {
            Tree::Any | Tree::Constant(_) => None,
            Tree::Op(op, operands) => operands.last().and_then(Tree::head).or(Some(op)),
        }
    }

    /// The same for all ways to write it.
    pub fn key(&self) -> String {
        match self {
            Tree::Any => "_".into(),
            Tree::Constant(value) => value.to_string(),
            Tree::Op(op, operands) if operands.is_empty() => op.key(),
            Tree::Op(op, operands) => {
                let operands: Vec<String> = operands.iter().map(Tree::key).collect();
                format!("{}({})", op.key(), operands.join(", "))
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Tree::Any => "_".into(),
            Tree::Constant(value) => value.to_string(),
            Tree::Op(op, operands) if operands.is_empty() => op.text(),
            Tree::Op(op, operands) => {
                let operands: Vec<String> = operands.iter().map(Tree::text).collect();
                format!("{}({})", op.text(), operands.join(", "))
            }
        }
    }
}

impl PatternExpr {
    /// The same for all ways to write it.
    pub fn key(&self) -> String {
        match &self.kind {
            PatternKind::Chain(chain) => {
                let ops: Vec<String> = chain.iter().map(Op::key).collect();
                ops.join(" + ")
            }
            PatternKind::Tree(tree) => tree.key(),
        }
    }

    /// As the user wrote it.
    pub fn text(&self) -> String {
        match &self.kind {
            PatternKind::Chain(chain) => {
                let ops: Vec<String> = chain.iter().map(Op::text).collect();
                ops.join(" + ")
            }
            PatternKind::Tree(tree) => tree.text(),
        }
    }
}

/// A kernel family that is bound somewhere.
pub struct KernelModel {
    /// Its path, as first written.
    pub path: Path,
    /// The path without spaces.
    pub text: String,
    /// The `cfg`s under which it is bound; empty where it is bound under none.
    pub conditions: Vec<Vec<Attribute>>,
}

/// A spec and where it stands: the one that is compiled, or one that it extends.
pub struct Layer<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// Whether it came with `extends`.
    pub inherited: bool,
}

/// Resolves and checks; `layers` go from the oldest ancestor to the spec itself.
pub fn build(
    layers: &[Layer<'_>],
    groups: &[&Group],
    sets: &[&KernelSet],
    diags: &mut Diags,
) -> Option<Model> {
    let backend = layers.last()?.spec.backend.as_ref()?;
    let mut names = check::names::collect(layers, diags);
    check::bounds::check(&mut names, diags);
    check::configs::check(&mut names, diags);
    let (patterns, kernels) = check::patterns::spread(layers, groups, sets, &mut names, diags);
    check::configs::unused(&names, diags);
    if kernels.len() > 255 {
        diags.error(crate::diag::messages::too_many_kernels(&backend.ident));
    }
    Some(Model {
        attrs: backend.attrs.clone(),
        vis: backend.vis.clone(),
        ident: backend.ident.clone(),
        name: backend.name.clone(),
        constants: names.constants(),
        configs: names.configs,
        patterns,
        kernels,
    })
}
