//! The syntax of a spec. The comments here are the grammar: each type shows what it is written like.
//!
//! ```text
//! spec    = backend item*
//! library = "groups" header, (group | template | kernels)*
//! group   = "group" IDENT "{" (pattern | "ranks" INT "..=" INT "{" .. "}" | "include" IDENT ";")* "}"
//! item    = attrs (dtype | config | list | group | pattern | remove | use)
//! configs = IDENT | "[" (IDENT [".."]) % "," "]"
//! chain   = op % "+" | op "(" (chain | "_" | INT) % "," ")"        op = path | "{" path % "|" "}"
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use qconfig_core::Fuser;
use syn::{Attribute, LitStr, Path, Visibility};

use crate::diag::Place;

/// What the braces of `backend_config!` hold.
#[derive(Default)]
pub struct Spec {
    /// `pub backend QNNPACK = "qnnpack";`
    pub backend: Option<Backend>,
    /// The statements behind it.
    pub items: Vec<Item>,
    /// Names that a broken statement would have declared: nothing is said of their uses.
    pub broken: Vec<String>,
}

/// What the braces of `op_groups!` hold.
#[derive(Default)]
pub struct Library {
    /// `pub groups standard_groups;`
    pub header: Option<(Visibility, Ident)>,
    /// The groups.
    pub groups: Vec<Group>,
    /// The sets of kernels.
    pub kernels: Vec<KernelSet>,
    /// What stands in the braces of each group and template, to be included by later ones.
    pub blocks: Vec<(Ident, TokenStream)>,
}

/// What the braces of `kernels!` hold: `pub static DIGITS: qconfig::backends::qnnpack;` and its rows.
pub struct KernelTable {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `pub`
    pub vis: Visibility,
    /// `DIGITS`
    pub ident: Ident,
    /// The module that a spec makes.
    pub backend: Path,
    /// The rows.
    pub rows: Vec<KernelRow>,
}

/// A row of a table of kernels.
pub enum KernelRow {
    /// `conv2d + relu @ weighted_quint8;`
    Pairs(Vec<PatternExpr>, Vec<Ident>),
    /// `kernel qconfig::kernels::Quantize;`
    Family(Path),
}

/// Attributes of a statement, sorted.
#[derive(Clone, Default)]
pub struct Attrs {
    /// `/// ..`
    pub docs: Vec<Attribute>,
    /// `#[cfg(..)]`
    pub cfgs: Vec<Attribute>,
    /// `#[allow(..)]` that rustc knows.
    pub allows: Vec<Attribute>,
    /// `#[allow(unused)]`: keeps a config that nothing lists.
    pub allow_unused: bool,
    /// `#[allow(deprecated)]`: silences every lint of the statement.
    pub allow_lints: bool,
    /// `#[allow(no_kernel)]`: silences the lint on pairs without a `kernel` clause.
    pub allow_no_kernel: bool,
}

/// `pub backend QNNPACK = "qnnpack" extends path::PARENT;`
pub struct Backend {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `pub`
    pub vis: Visibility,
    /// `QNNPACK`
    pub ident: Ident,
    /// `"qnnpack"`
    pub name: LitStr,
    /// `path::PARENT`
    pub extends: Option<Path>,
}

/// A statement.
pub enum Item {
    /// `dtype ..`
    DType(DType),
    /// `config ..`
    Config(Config),
    /// `list ..`
    List(List),
    /// `group ..`
    Group(GroupUse),
    /// `pattern ..`
    Pattern(PatternItem),
    /// `remove pattern ..`
    Remove(Remove),
    /// `use groups ..`
    UseGroups(Path),
    /// `use kernels ..`
    UseKernels(Ident),
}

/// `dtype act_qint8 = qint8 { scale >= 2^-12, quant in -127..=127 };`
pub struct DType {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `override`, where an inherited dtype is replaced.
    pub overrides: Option<Span>,
    /// `act_qint8`
    pub ident: Ident,
    /// `qint8`
    pub base: Ident,
    /// What stands in braces.
    pub bounds: Vec<Bound>,
}

/// One bound: `scale >= 2^-12`.
#[derive(Clone)]
pub struct Bound {
    /// From its first to its last token.
    pub at: Place,
    /// What it says.
    pub kind: BoundKind,
}

/// What a bound says.
#[derive(Clone)]
pub enum BoundKind {
    /// `quant in -127..=127`
    Quant(Option<i64>, Option<i64>),
    /// `scale >= 2^-12`
    ScaleMin(Scale),
    /// `scale <= 1`
    ScaleMax(Scale),
    /// `scale == 1/256`
    ScaleExact(Scale),
    /// `zero_point == 0`
    ZeroPoint(i64),
}

/// A scale: `0.5`, `1/256`, `2^-12`, or a path to a constant.
#[derive(Clone)]
pub struct Scale {
    /// Its value, or the path to it.
    pub value: ScaleValue,
    /// As the user wrote it.
    pub text: String,
}

/// The value of a scale, as far as the macro can know it.
#[derive(Clone)]
pub enum ScaleValue {
    /// A number.
    Number(f64),
    /// A constant, which rustc evaluates.
    Path(Path),
}

/// `dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }`
pub struct Config {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `override`, where an inherited config is replaced.
    pub overrides: Option<Span>,
    /// `dynamic`
    pub dynamic: Option<Span>,
    /// `dynamic_int8`
    pub ident: Ident,
    /// `input: quint8`, ...
    pub fields: Vec<(Ident, Ident)>,
    /// Whether a field could not be read: then none is missed.
    pub broken: bool,
}

/// `list weighted = [weighted_qint8, weighted_quint8];`
pub struct List {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `override`, where an inherited list is replaced.
    pub overrides: Option<Span>,
    /// `weighted`
    pub ident: Ident,
    /// `[weighted_qint8, weighted_quint8]`
    pub configs: Configs,
}

/// `weighted`, or `[weighted.., dynamic_int8]`
#[derive(Clone)]
pub struct Configs {
    /// From its first to its last token.
    pub at: Place,
    /// Whether they stand in brackets.
    pub bracketed: bool,
    /// The names; true where `..` follows.
    pub names: Vec<(Ident, bool)>,
}

/// `group conv: weighted { kernel => crate::Q8Conv; }`
pub struct GroupUse {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `conv`
    pub name: Ident,
    /// What the patterns support.
    pub configs: Configs,
    /// What stands in braces.
    pub clauses: Vec<Clause>,
}

/// `group conv { pattern ..; ranks 1..=3 { pattern ..; include conv_nd; } }` in a library. What another
/// group or a `template` holds is included as if it stood there; a template is no group by itself.
pub struct Group {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `conv`
    pub ident: Ident,
    /// Its patterns, in order.
    pub patterns: Vec<PatternItem>,
}

/// `kernels standard { kernel for add => crate::Q8Add; }` in a library: what `use kernels standard;` binds wherever a
/// pattern begins with the operator and the spec itself says nothing else.
pub struct KernelSet {
    /// `standard`
    pub ident: Ident,
    /// What stands in braces.
    pub clauses: Vec<Clause>,
}

/// `override pattern sigmoid | tanh: default { fix .. }`; without configs in a library.
pub struct PatternItem {
    /// Docs and the like.
    pub attrs: Attrs,
    /// `override`, where an earlier pattern is replaced.
    pub overrides: Option<Span>,
    /// The patterns that share the clauses.
    pub patterns: Vec<PatternExpr>,
    /// What they support.
    pub configs: Option<Configs>,
    /// What stands in braces.
    pub clauses: Vec<Clause>,
}

/// `remove pattern sigmoid;`
pub struct Remove {
    /// The patterns.
    pub patterns: Vec<PatternExpr>,
}

/// One pattern, alternatives spelled out.
#[derive(Clone)]
pub struct PatternExpr {
    /// From its first to its last token.
    pub at: Place,
    /// What it says.
    pub kind: PatternKind,
}

/// Chain or tree.
#[derive(Clone)]
pub enum PatternKind {
    /// `conv2d + bn2d + relu`
    Chain(Vec<Op>),
    /// `relu(add(_, bn2d(conv2d)))`
    Tree(Tree),
}

/// A node of a tree pattern.
#[derive(Clone)]
pub enum Tree {
    /// `_`
    Any,
    /// `0`
    Constant(i64),
    /// `add(_, conv2d)`
    Op(Op, Vec<Tree>),
}

/// An operator: a path to a type that implements `Spelled`.
#[derive(Clone)]
pub struct Op {
    /// `nn::Conv2d`
    pub path: Path,
}

/// A line of a pattern's or group's block.
pub struct Clause {
    /// Docs and the like.
    pub attrs: Attrs,
    /// Its first token.
    pub at: Place,
    /// What it says.
    pub kind: ClauseKind,
}

/// What a clause says.
#[derive(Clone)]
pub enum ClauseKind {
    /// `kernel weighted for conv2d => crate::Q8Conv;` or `kernel none;`
    Kernel {
        /// `weighted`
        configs: Option<Configs>,
        /// `for conv1d | conv2d`
        ops: Option<Vec<Op>>,
        /// What is bound; `None` is `none`.
        path: Option<Path>,
    },
    /// `observe: shared;`
    Observe(Observe),
    /// `observe by tensor_args { 0: separate, 1: shared };`
    ObserveBy(Vec<(u8, Span, Observe)>),
    /// `args { weight: 1, bias: 2 }`
    Args(Vec<(Ident, u8, Span)>),
    /// `root: nn::Conv2d;`
    Module(ModuleRole, Op),
    /// `fuser: conv_bn;`
    Fuser(Fuser),
    /// `fix quint8 { scale == 1/256, zero_point == 0 }`
    Fix(Ident, Vec<Bound>),
    /// `root_node: [1];`
    RootNode(Vec<u8>),
    /// `extra_inputs: [[0]];`
    ExtraInputs(Vec<Vec<u8>>),
}

/// `separate`, `shared` or `none`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observe {
    /// The output has an observer of its own.
    Separate,
    /// It shares the input's.
    Shared,
    /// Neither is observed.
    None,
}

/// Which module a clause names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModuleRole {
    /// `root`
    Root,
    /// `qat`
    Qat,
    /// `reference`
    Reference,
    /// `fused`
    Fused,
}

/// A path without spaces: `nn::Conv2d`.
pub fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for (i, segment) in path.segments.iter().enumerate() {
        if i > 0 || path.leading_colon.is_some() {
            text.push_str("::");
        }
        text.push_str(&segment.ident.to_string());
    }
    text
}

/// Where a path stands.
pub fn path_place(path: &Path) -> Place {
    let first = path
        .leading_colon
        .map(|colon| colon.spans[0])
        .or_else(|| path.segments.first().map(|segment| segment.ident.span()));
    let last = path.segments.last().map(|segment| segment.ident.span());
    Place {
        first: first.unwrap_or_else(Span::call_site),
        last: last.unwrap_or_else(Span::call_site),
    }
}
