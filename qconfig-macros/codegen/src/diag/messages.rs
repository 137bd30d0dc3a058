//! Every message of the macro, so that their wording is reviewed in one place.

use proc_macro2::{Ident, Span};
use qconfig_core::{BoundProblem, ConfigProblem, DType, Fuser, PatternProblem};

use super::{Diag, Place};
use crate::suggest;

/// What a statement may begin with.
pub const STATEMENTS: [&str; 8] = [
    "dtype", "config", "list", "group", "pattern", "remove", "use", "backend",
];
/// What may stand in front of it.
pub const MODIFIERS: [&str; 2] = ["override", "dynamic"];
/// What a clause may begin with.
pub const CLAUSES: [&str; 11] = [
    "kernel",
    "observe",
    "args",
    "root",
    "qat",
    "reference",
    "fused",
    "fuser",
    "fix",
    "root_node",
    "extra_inputs",
];

const STATEMENT_LIST: &str =
    "statements are `dtype`, `config`, `list`, `group`, `pattern`, `remove`, `use`";

// ---- syntax

pub(crate) fn unknown_statement(found: &Ident) -> Diag {
    let word = found.to_string();
    let diag = Diag::new(found, format!("expected a statement, found `{word}`"));
    let words = STATEMENTS.iter().chain(&MODIFIERS).copied();
    match suggest::nearest(&word, words) {
        Some(name) => diag.help(format!("did you mean `{name}`? {STATEMENT_LIST}")),
        None => diag.help(STATEMENT_LIST),
    }
}

pub(crate) fn no_statement(at: Span) -> Diag {
    Diag::new(at, "expected a statement").help(STATEMENT_LIST)
}

pub(crate) fn missing_semicolon(at: Span, statement: &str) -> Diag {
    Diag::new(
        at,
        format!("missing `;` after this `{statement}` statement"),
    )
}

pub(crate) fn missing_clause_semicolon(at: Span, clause: &str) -> Diag {
    Diag::new(at, format!("missing `;` after this `{clause}` clause"))
}

pub(crate) fn missing_backend(at: Span) -> Diag {
    Diag::new(at, "missing `backend` statement").help("start with `pub backend NAME = \"name\";`")
}

pub(crate) fn second_backend(at: &Ident, first: usize) -> Diag {
    Diag::new(at, "only one `backend` per invocation")
        .note(format!("first declared on line {first}"))
        .help("use a second `backend_config!`")
}

pub(crate) fn missing_groups_header(at: Span) -> Diag {
    Diag::new(at, "missing `groups` statement").help("start with `pub groups NAME;`")
}

pub(crate) fn no_group(at: Span) -> Diag {
    Diag::new(at, "expected `group`, `template` or `kernels`")
}

pub(crate) fn unknown_clause(found: &Ident, block: &str) -> Diag {
    let word = found.to_string();
    let diag = Diag::new(found, format!("unknown clause `{word}` in {block} block"));
    let list = CLAUSES.map(|clause| format!("`{clause}`")).join(", ");
    match suggest::nearest(&word, CLAUSES) {
        Some(name) => diag.help(format!("did you mean `{name}`? clauses are {list}")),
        None => diag.help(format!("clauses are {list}")),
    }
}

pub(crate) fn unknown_bound(found: &Ident) -> Diag {
    let word = found.to_string();
    let diag = Diag::new(found, format!("unknown bound `{word}`"));
    let names = ["quant", "scale", "zero_point"];
    match suggest::nearest(&word, names) {
        Some(name) => diag.help(format!("did you mean `{name}`?")),
        None => diag.help("bounds are `quant in MIN..=MAX`, `scale >= S`, `scale <= S`, `scale == S`, `zero_point == Z`"),
    }
}

pub(crate) fn quant_syntax(at: Span) -> Diag {
    Diag::new(at, "`quant` takes an inclusive range").help("write `quant in -127..=127`")
}

pub(crate) fn scale_syntax(at: Span) -> Diag {
    Diag::new(at, "`scale` takes `>=`, `<=` or `==`").help("write `scale >= 2^-12`")
}

pub(crate) fn zero_point_syntax(at: Span) -> Diag {
    Diag::new(at, "`zero_point` takes `==`").help("write `zero_point == 0`")
}

pub(crate) fn scale_value(at: Span) -> Diag {
    Diag::new(at, "expected a scale")
        .help("write `0.5`, `1/256`, `2^-12` or the path of a constant")
}

pub(crate) fn unknown_observation(found: &Ident) -> Diag {
    Diag::new(found, format!("unknown observation `{found}`"))
        .help("observations are `separate`, `shared`, `none`")
}

pub(crate) fn unknown_fuser(found: &Ident) -> Diag {
    let names = Fuser::ALL.map(Fuser::name);
    let word = found.to_string();
    with_help(
        Diag::new(found, format!("unknown fuser `{word}`")),
        suggest::help(&word, "fusers are", names),
    )
}

pub(crate) fn unknown_attribute(at: Place, name: &str) -> Diag {
    Diag::new(at, format!("attribute `{name}` has no meaning here"))
        .help("statements take doc comments, `#[cfg(..)]` and `#[allow(..)]`")
}

pub(crate) fn misplaced_modifier(at: Span, modifier: &str, statement: &str) -> Diag {
    let diag = Diag::new(
        at,
        format!("`{modifier}` has no meaning before `{statement}`"),
    );
    match modifier {
        "dynamic" => diag.help("only `config` can be `dynamic`"),
        _ => diag.help("only `dtype`, `config`, `list` and `pattern` can be overridden"),
    }
}

pub(crate) fn missing_configs(at: Span) -> Diag {
    Diag::new(at, "expected `:` and the dtype configs that this supports")
        .help("write `: weighted` or `: [weighted_qint8, weighted_quint8]`")
}

// ---- names

pub(crate) fn defined_twice(at: &Ident, kind: &str, first: usize) -> Diag {
    Diag::new(at, format!("{kind} `{at}` is defined twice"))
        .note(format!("first defined on line {first}"))
        .help("rename one of them")
}

pub(crate) fn inherited(at: &Ident, kind: &str, backend: &str) -> Diag {
    Diag::new(at, format!("`{at}` is inherited from `{backend}`"))
        .help(format!("`override {kind} {at} ..` replaces it"))
}

pub(crate) fn nothing_to_override(at: &Ident, kind: &str, inherits: bool) -> Diag {
    let diag = Diag::new(
        at,
        format!("nothing to override: {kind} `{at}` is not inherited"),
    );
    if inherits {
        diag.help("drop `override`")
    } else {
        diag.help("drop `override`, or inherit with `extends`")
    }
}

pub(crate) fn override_changes_nothing(at: Place, what: &str) -> Diag {
    Diag::new(
        at,
        format!("override changes nothing: {what} is the same as before"),
    )
}

pub(crate) fn reserved(at: &Ident, kind: &str) -> Diag {
    Diag::new(at, format!("`{at}` cannot name a {kind}"))
        .help("keywords, primitive types, dtypes and names that begin with `__` are taken")
}

pub(crate) fn unknown_config<'a>(
    at: &Ident,
    context: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Diag {
    let word = at.to_string();
    with_help(
        Diag::new(at, format!("unknown dtype config `{word}` in {context}")),
        suggest::help(&word, "declared dtype configs", names),
    )
}

pub(crate) fn unknown_dtype<'a>(
    at: &Ident,
    config: &Ident,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Diag {
    let word = at.to_string();
    let help = suggest::nearest(&word, names).map(|name| format!("did you mean `{name}`?"));
    let help = help.unwrap_or_else(|| {
        "dtypes are PyTorch's (`quint8`, `qint8`, `float16`, ..) and those of `dtype` statements".into()
    });
    Diag::new(at, format!("unknown dtype `{word}` in config `{config}`")).help(help)
}

pub(crate) fn dtype_for_config(at: &Ident, line: Option<usize>) -> Diag {
    let diag = Diag::new(
        at,
        format!("`{at}` is a dtype, but a dtype config is expected here"),
    );
    let diag = match line {
        Some(line) => diag.note(format!("declared as `dtype` on line {line}")),
        None => diag,
    };
    diag.help(format!("wrap it: `config .. {{ input: {at}, .. }}`"))
}

pub(crate) fn config_for_dtype(at: &Ident, line: usize) -> Diag {
    Diag::new(
        at,
        format!("`{at}` is a dtype config, but a dtype is expected here"),
    )
    .note(format!("declared as `config` on line {line}"))
}

pub(crate) fn list_in_list(at: &Ident) -> Diag {
    Diag::new(
        at,
        format!("`{at}` is a list, and a dtype config is expected here"),
    )
    .help(format!("write `{at}..` for what it holds"))
}

pub(crate) fn config_spread(at: &Ident) -> Diag {
    Diag::new(
        at,
        format!("`{at}` is one dtype config, `..` follows a list"),
    )
    .help("drop `..`")
}

pub(crate) fn list_cycle(at: &Ident) -> Diag {
    Diag::new(at, format!("list `{at}` holds itself"))
}

pub(crate) fn unused_config(at: &Ident) -> Diag {
    Diag::new(
        at,
        format!("dtype config `{at}` is declared but no list or pattern uses it"),
    )
    .help("add `#[allow(unused)]` to keep it")
}

pub(crate) fn unknown_group<'a>(
    at: &Ident,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Diag {
    let word = at.to_string();
    with_help(
        Diag::new(at, format!("unknown group `{word}`")),
        suggest::help(&word, "groups are", names),
    )
}

// ---- bounds

pub(crate) fn bound(at: Place, problem: &BoundProblem, texts: &[(Place, String)]) -> Diag {
    let diag = Diag::new(at, problem.to_string());
    let line_of = |text: &str| {
        texts
            .iter()
            .find(|(_, found)| found.starts_with(text))
            .map(|(place, _)| place.line())
    };
    match problem {
        BoundProblem::EmptyQuant { min, max } => {
            diag.help(format!("did you mean `{max}..={min}`?"))
        }
        BoundProblem::OneSidedQuant => diag
            .note("PyTorch silently ignores a one-sided bound")
            .help("write both: `quant in -127..=127`"),
        BoundProblem::ScaleNotInF32 { .. } => {
            let what = texts.iter().find(|(place, _)| place.line() == at.line());
            match what {
                Some((_, text)) => Diag::new(
                    at,
                    format!("`{}` is not representable as f32", scale_part(text)),
                )
                .note("scales are stored as f32: the value underflows to 0 or overflows"),
                None => diag,
            }
        }
        BoundProblem::ScaleContradiction { .. } => {
            let find = |op: &str| texts.iter().find(|(_, text)| text.starts_with(op));
            match (find("scale >="), find("scale <=")) {
                (Some((min_at, min)), Some((max_at, max))) => {
                    let first = min_at.line().min(max_at.line());
                    Diag::new(at, format!("`{min}` contradicts `{max}`"))
                        .note(format!("the other bound is on line {first}"))
                }
                _ => diag,
            }
        }
        BoundProblem::ExactScaleAlone | BoundProblem::ExactZeroPointAlone => {
            diag.note("PyTorch checks them only as a pair")
        }
        BoundProblem::ExactScaleWithMinimum => match line_of("scale ==") {
            Some(line) => diag
                .note(format!("the exact scale is on line {line}"))
                .help("drop `scale >=`"),
            None => diag.help("drop `scale >=`"),
        },
        BoundProblem::ExactScaleWithMaximum => diag.help("drop `scale <=`"),
        BoundProblem::QuantOnUnquantized { .. } => {
            diag.help("drop the bound, or take a quantized dtype")
        }
        BoundProblem::ZeroPointOutside { .. } => {
            diag.note("the zero point is a quantized value itself")
        }
        _ => diag,
    }
}

fn scale_part(text: &str) -> &str {
    text.trim_start_matches("scale")
        .trim_start_matches([' ', '<', '>', '='])
}

pub(crate) fn bound_twice(at: Place, what: &str, first: usize) -> Diag {
    Diag::new(at, format!("`{what}` given twice")).note(format!("first given on line {first}"))
}

pub(crate) fn quant_without_effect(at: Place, problem: &BoundProblem) -> Diag {
    Diag::new(at, problem.to_string())
}

pub(crate) fn scale_max(at: Place) -> Diag {
    Diag::new(at, "maximum scale is recorded but no observer enforces it")
}

pub(crate) fn scale_on_float(at: Place, dtype: DType) -> Diag {
    Diag::new(
        at,
        format!("`{dtype}` has no scale, so this bound has no effect"),
    )
}

// ---- dtype configs

pub(crate) fn missing_field(config: &Ident, missing: &str) -> Diag {
    Diag::new(
        config,
        format!("dtype config `{config}` has no `{missing}`"),
    )
    .help("`input` and `output` are required, `weight` and `bias` optional")
}

pub(crate) fn field_twice(at: &Ident, first: usize) -> Diag {
    Diag::new(at, format!("`{at}` given twice")).note(format!("first given on line {first}"))
}

pub(crate) fn config_problem(at: Place, config: &Ident, problem: &ConfigProblem) -> Diag {
    match problem {
        ConfigProblem::DynamicOutput { .. } => {
            Diag::new(at, problem.to_string()).help("drop `dynamic`, or use `output: f32`")
        }
        ConfigProblem::Bias { bias } => Diag::new(
            at,
            format!(
                "bias of `{config}` is `{bias}`; bias must be `f32`, `f16`, `bf16` or `qint32`"
            ),
        ),
        _ => Diag::new(at, problem.to_string()),
    }
}

pub(crate) fn bias_bounds(at: &Ident) -> Diag {
    Diag::new(at, "a bias has no bounds").help("name the dtype itself: `f32`, `qint32`")
}

pub(crate) fn listed_twice(at: &Ident, context: &str) -> Diag {
    Diag::new(at, format!("{context} names `{at}` twice")).help("drop one of them")
}

pub(crate) fn identical(at: &Ident, other: &Ident) -> Diag {
    Diag::new(
        at,
        format!("dtype config `{at}` and `{other}` are identical"),
    )
}

// ---- patterns

pub(crate) fn configured_twice(at: Place, pattern: &str, first: &str) -> Diag {
    Diag::new(at, format!("pattern `{pattern}` is configured twice"))
        .note(first)
        .help("write `override pattern` to replace it")
}

pub(crate) fn group_pattern_twice(at: Place, pattern: &str, first: &str) -> Diag {
    Diag::new(
        at,
        format!("pattern `{pattern}` of this group is already configured"),
    )
    .note(first)
    .help("put the group first and write `override pattern` for the difference")
}

pub(crate) fn no_such_pattern<'a>(
    at: Place,
    verb: &str,
    pattern: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Diag {
    let diag = Diag::new(
        at,
        format!("nothing to {verb}: `{pattern}` is not configured yet"),
    );
    match suggest::nearest(pattern, names) {
        Some(name) => diag.help(format!("did you mean `{name}`?")),
        None if verb == "override" => diag.help("drop `override` to add it"),
        None => diag,
    }
}

pub(crate) fn chain_problem(at: Place, problem: &PatternProblem) -> Diag {
    let diag = Diag::new(at, problem.to_string());
    match problem {
        PatternProblem::TooLong { .. } => diag
            .note("PyTorch fuses at most 3 operators in a row")
            .help("write a tree, `relu(add(_, bn(conv2d)))`, for other graphs"),
        PatternProblem::CannotBegin { .. } => {
            diag.note("convolutions, linear, binary operators and normalizations begin a chain")
        }
        PatternProblem::MustBeLast { .. } | PatternProblem::CannotFollow { .. } => {
            diag.note("normalizations and activations follow, and an activation is last")
        }
        _ => diag,
    }
}

pub(crate) fn any_in_chain(at: Span) -> Diag {
    Diag::new(
        at,
        "`_` is allowed only as an operand, as in `add(_, conv2d)`",
    )
}

pub(crate) fn missing_case(at: Place, missing: u8) -> Diag {
    let plural = if missing == 1 { "" } else { "s" };
    Diag::new(
        at,
        format!("missing case for {missing} tensor argument{plural}"),
    )
}

pub(crate) fn case_twice(at: Span, case: u8) -> Diag {
    Diag::new(at, format!("case {case} given twice"))
}

pub(crate) fn unknown_arg(at: &Ident) -> Diag {
    Diag::new(at, format!("unknown argument `{at}`"))
        .help("arguments are `input`, `weight` and `bias`")
}

pub(crate) fn arg_index(at: Span, name: &Ident, op: &str, index: u8, expected: u8) -> Diag {
    Diag::new(at, format!("`{name}` of `{op}` is not input {index}"))
        .help(format!("it is input {expected}"))
}

pub(crate) fn arg_first(at: Span, name: &Ident) -> Diag {
    Diag::new(
        at,
        format!("`{name}` cannot be input 0: that is the activation"),
    )
}

pub(crate) fn arg_same(at: Span, name: &Ident, other: &Ident, index: u8) -> Diag {
    Diag::new(
        at,
        format!("`{name}` and `{other}` cannot both be input {index}"),
    )
}

pub(crate) fn no_configs(at: Place, what: &str) -> Diag {
    Diag::new(at, format!("{what} has no dtype config"))
        .help("list at least one, or `remove pattern`")
}

pub(crate) fn shared_differs(at: Place, config: &str, input: &str, output: &str) -> Diag {
    Diag::new(
        at,
        format!(
            "shared observer needs equal input and output, but `{config}` maps `{input}` to `{output}`"
        ),
    )
}

pub(crate) fn nothing_to_fix(at: &Ident, what: &str, line: Option<usize>) -> Diag {
    let diag = Diag::new(
        at,
        format!("no config of {what} has a `{at}` activation to fix"),
    );
    match line {
        Some(line) => diag.note(format!("the configs are on line {line}")),
        None => diag,
    }
}

pub(crate) fn fix_with_scale(at: Place, config: &str, bound: &str) -> Diag {
    Diag::new(
        at,
        format!("`{config}` has a `{bound}` bound, which a fixed scale excludes"),
    )
    .note("PyTorch raises a ValueError here")
}

pub(crate) fn clause_twice(at: Place, clause: &str, first: usize) -> Diag {
    Diag::new(at, format!("clause `{clause}` given twice"))
        .note(format!("first given on line {first}"))
}

pub(crate) fn clause_in_group(at: Place, clause: &str) -> Diag {
    Diag::new(
        at,
        format!("`{clause}` belongs to a pattern, not to a group"),
    )
    .help("a group's block takes `kernel` clauses; write `override pattern` for the rest")
}

pub(crate) fn kernel_in_library(at: Place) -> Diag {
    Diag::new(at, "a library of groups binds no kernels")
        .help("bind them where the group is used: `group conv: weighted { kernel => ..; }`")
}

pub(crate) fn tree_only(at: Place, clause: &str) -> Diag {
    Diag::new(
        at,
        format!("`{clause}` has a meaning only for a tree pattern"),
    )
    .help("trees are written as calls: `add(_, conv2d)`")
}

pub(crate) fn leads_nowhere(at: Place, clause: &str, path: &[u8], pattern: &str) -> Diag {
    Diag::new(
        at,
        format!("`{clause}`: {path:?} leads nowhere in `{pattern}`"),
    )
    .note("a path names operands from the last operator on, the first is 0")
}

pub(crate) fn root_is_no_operator(at: Place, path: &[u8], pattern: &str) -> Diag {
    Diag::new(
        at,
        format!("`root_node`: {path:?} of `{pattern}` is no operator"),
    )
    .help("the root is the operator that decides which kernel runs")
}

// ---- libraries of groups

pub(crate) fn unknown_include<'a>(
    at: &Ident,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Diag {
    let word = at.to_string();
    with_help(
        Diag::new(
            at,
            format!("nothing to include: no group or template `{word}` stands above"),
        ),
        suggest::help(&word, "above are", names),
    )
}

pub(crate) fn unknown_kernels<'a>(
    at: &Ident,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Diag {
    let word = at.to_string();
    with_help(
        Diag::new(at, format!("unknown set of kernels `{word}`")),
        suggest::help(&word, "sets are", names),
    )
}

pub(crate) fn not_in_kernels(at: Place, clause: &str) -> Diag {
    Diag::new(
        at,
        format!("`{clause}` does not belong in a set of kernels"),
    )
    .help("a set holds `kernel for OP | OP => PATH;` clauses")
}

pub(crate) fn kernels_without_for(at: Place) -> Diag {
    Diag::new(at, "a `kernel` clause of a set needs `for`")
        .help("a set knows operators, not the dtype configs of a spec: `kernel for add => ..;`")
}

pub(crate) fn group_defined_twice(at: &Ident, first: usize) -> Diag {
    Diag::new(at, format!("group `{at}` is defined twice"))
        .note(format!("first defined on line {first}"))
        .help("rename one of them")
}

pub(crate) fn empty_group(at: &Ident) -> Diag {
    Diag::new(at, format!("group `{at}` has no pattern"))
}

pub(crate) fn empty_ranks(at: Span, low: u8, high: u8) -> Diag {
    Diag::new(at, format!("no rank is in {low}..={high}"))
        .help(format!("did you mean `{high}..={low}`?"))
}

pub(crate) fn rank_unheard_of(at: Span, rank: u8) -> Diag {
    Diag::new(at, format!("PyTorch has no operators of rank {rank}")).help("ranks are 1, 2 and 3")
}

pub(crate) fn rank_left_open(at: Place, op: &str) -> Diag {
    Diag::new(at, format!("`{op}` stands outside of `ranks`"))
        .help("`ranks 1..=3 { .. }` replaces `Nd` by `1d`, `2d`, `3d`")
}

// ---- kernels

pub(crate) fn bound_already(at: Place, config: &str, pattern: &str, line: usize) -> Diag {
    Diag::new(
        at,
        format!("config `{config}` already has a kernel in pattern `{pattern}`"),
    )
    .note(format!("bound on line {line}"))
    .help("drop one of the clauses, or make one more specific with `for`")
}

pub(crate) fn not_of_pattern(at: &Ident, what: &str, list: &[String]) -> Diag {
    let list: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
    Diag::new(
        at,
        format!("`{at}` is not one of the dtype configs of {what}"),
    )
    .note(format!("they are {}", list.join(", ")))
}

pub(crate) fn for_nothing(at: Place, op: &str, what: &str) -> Diag {
    Diag::new(at, format!("no pattern of {what} begins with `{op}`"))
}

pub(crate) fn no_kernel(at: Place, what: &str, configs: &[String]) -> Diag {
    let list: Vec<String> = configs.iter().map(|name| format!("`{name}`")).collect();
    let first = configs.first().map(String::as_str).unwrap_or_default();
    Diag::new(
        at,
        format!("{what} lists {} but binds no kernel to it", list.join(", ")),
    )
    .help(format!(
        "add `kernel {first} => ..;` or `kernel none;`, or `#[allow(no_kernel)]`"
    ))
}

pub(crate) fn too_many_kernels(at: &Ident) -> Diag {
    Diag::new(at, "cell index overflow: more than 255 kernels")
}

pub(crate) fn no_table(at: Span) -> Diag {
    Diag::new(at, "expected `static`")
        .help("start with `pub static NAME: path::to::backend;`, the module that a spec makes")
}

pub(crate) fn empty_table(at: &Ident) -> Diag {
    Diag::new(at, format!("table `{at}` has no row"))
        .help("rows are `conv2d + relu @ weighted_quint8;` and `kernel path::to::Family;`")
}

pub(crate) fn no_at(at: Span) -> Diag {
    Diag::new(at, "expected `@` and a dtype config behind the pattern")
        .help("`conv2d + relu @ weighted_quint8;`")
}

pub(crate) fn spread_in_table(at: &Ident) -> Diag {
    Diag::new(at, format!("`{at}..` cannot be spread here"))
        .note("a table knows the dtype configs of a backend, not its lists")
        .help("name the dtype configs that the model uses")
}

// ---- inheritance

pub(crate) fn extends_itself(at: Place, name: &str) -> Diag {
    Diag::new(at, format!("backend `{name}` extends itself"))
}

pub(crate) fn not_a_backend(at: Place, path: &str) -> Diag {
    Diag::new(at, format!("`{path}` is not a backend"))
        .help("`extends` takes the path of a `backend`, `use groups` that of a library of groups")
}

fn with_help(diag: Diag, help: Option<String>) -> Diag {
    match help {
        Some(help) => diag.help(help),
        None => diag,
    }
}
