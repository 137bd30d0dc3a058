//! The spec as text; [`crate::format`] lays it out.

use std::fmt::Write as _;

use proc_macro2::Literal;
use qconfig_core::owned::{BackendConfig, DTypeConfig, DTypeWithConstraints};

use super::Options;
use super::entry::{Pattern, short};
use super::names::Names;
use super::statement::Statement;

/// The whole file.
pub(super) fn spec(
    config: &BackendConfig,
    options: &Options<'_>,
    statements: &[Statement],
    names: &Names,
) -> String {
    let ident = match options.ident {
        Some(ident) => ident.to_owned(),
        None => ident(&config.name),
    };
    let pairs = config.configs.iter().map(|found| found.dtype_configs.len());
    let pairs: usize = pairs.sum();
    let mut out = format!(
        "qconfig::backend_config! {{
        /// Imported from PyTorch: {} patterns, {pairs} pairs of pattern and dtype config.
        pub backend {ident} = {};\n\n",
        config.configs.len(),
        Literal::string(&config.name),
    );
    for (name, dtype) in &names.dtypes {
        out.push_str(&silenced(dtype));
        let _ = writeln!(
            out,
            "dtype {name} = {} {{ {} }};",
            short(dtype.dtype),
            bounds(dtype)
        );
    }
    out.push('\n');
    for (name, config) in &names.configs {
        out.push_str(&declared(name, config, names));
    }
    out.push('\n');
    for (name, list) in &names.lists {
        let _ = writeln!(out, "list {name} = {};", names.bracketed(list));
    }
    out.push('\n');
    for statement in statements {
        out.push_str(&written(statement, names));
    }
    out.push_str("}\n");
    out
}

/// `QNNPACK` for `qnnpack`: the static's name, whose small letters name a module.
pub(super) fn ident(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut ident = words.join("_").to_ascii_uppercase();
    if !ident.starts_with(|c: char| c.is_ascii_alphabetic()) {
        ident.insert_str(0, "BACKEND_");
    }
    if syn::parse_str::<proc_macro2::Ident>(&ident.to_lowercase()).is_err() {
        ident.push_str("_BACKEND");
    }
    ident
}

/// The macro's warnings are about what an import cannot change.
fn silenced(dtype: &DTypeWithConstraints) -> String {
    let lints = qconfig_core::DTypeWithConstraints::from(dtype).problems();
    let scales = [
        dtype.scale_min_lower_bound,
        dtype.scale_max_upper_bound,
        dtype.scale_exact_match,
    ];
    let reason = if let Some(lint) = lints.iter().find(|problem| problem.is_lint()) {
        lint.to_string()
    } else if dtype.dtype.is_float() && scales.iter().any(Option::is_some) {
        "a scale says nothing of floats".into()
    } else if dtype.scale_max_upper_bound.is_some() {
        "no observer looks at a largest scale".into()
    } else {
        return String::new();
    };
    format!("#[allow(deprecated)] // {reason}\n")
}

/// `quant in -127..=127, scale >= 2^-12`
fn bounds(dtype: &DTypeWithConstraints) -> String {
    let mut parts = Vec::new();
    if let (Some(min), Some(max)) = (dtype.quant_min_lower_bound, dtype.quant_max_upper_bound) {
        parts.push(format!("quant in {min}..={max}"));
    }
    for (sign, value) in [
        (">=", dtype.scale_min_lower_bound),
        ("<=", dtype.scale_max_upper_bound),
        ("==", dtype.scale_exact_match),
    ] {
        let exact = sign == "==";
        parts.extend(value.map(|value| format!("scale {sign} {}", scale(value, exact))));
    }
    let zero_point = dtype.zero_point_exact_match;
    parts.extend(zero_point.map(|zero_point| format!("zero_point == {zero_point}")));
    parts.join(", ")
}

/// `2^-12`, `0.1`, `1/3`: the same number, as a person would write it. What is exact is a share.
fn scale(value: f64, exact: bool) -> String {
    let exponent = value.log2();
    let is_power =
        exponent.fract() == 0.0 && exponent.abs() <= 126.0 && 2f64.powi(exponent as i32) == value;
    let divisor = (1.0 / value).round();
    let is_share = (2.0..=65536.0).contains(&divisor) && 1.0 / divisor == value;
    if is_power && exponent < 0.0 && !(exact && is_share) {
        format!("2^{exponent}")
    } else if is_share && (exact || format!("{value:?}").len() > 5) {
        format!("1/{divisor}")
    } else {
        format!("{value:?}")
    }
}

fn declared(name: &str, config: &DTypeConfig, names: &Names) -> String {
    let mut fields = Vec::new();
    for (field, dtype) in [
        ("input", &config.input_dtype),
        ("output", &config.output_dtype),
        ("weight", &config.weight_dtype),
    ] {
        fields.extend(
            dtype
                .as_ref()
                .map(|dtype| format!("{field}: {}", names.dtype(dtype))),
        );
    }
    fields.extend(
        config
            .bias_dtype
            .map(|bias| format!("bias: {}", short(bias))),
    );
    let base = |dtype: &Option<DTypeWithConstraints>| dtype.as_ref().map(|found| found.dtype);
    let problem = base(&config.input_dtype)
        .zip(base(&config.output_dtype))
        .and_then(|(input, output)| {
            let weight = base(&config.weight_dtype);
            qconfig_core::config_problem(
                input,
                output,
                weight,
                config.bias_dtype,
                config.is_dynamic,
            )
        });
    let silenced = match problem.filter(qconfig_core::ConfigProblem::is_lint) {
        Some(problem) => format!("#[allow(deprecated)] // {problem}\n"),
        None => String::new(),
    };
    let dynamic = if config.is_dynamic { "dynamic " } else { "" };
    format!(
        "{silenced}{dynamic}config {name} {{ {} }}\n",
        fields.join(", ")
    )
}

fn written(statement: &Statement, names: &Names) -> String {
    let list = names.configs(statement.configs());
    match statement {
        Statement::Group { name, removed, .. } => {
            let mut text = format!("group {name}: {list} {{ kernel none; }}\n");
            if !removed.is_empty() {
                let _ = writeln!(text, "remove pattern {};", removed.join(" | "));
            }
            text
        }
        Statement::Pattern {
            overrides,
            patterns,
            clauses,
            fix,
            ..
        } => {
            let modifier = if *overrides { "override " } else { "" };
            let mut block = clauses.clone();
            block.extend(
                fix.as_ref()
                    .map(|fix| format!("fix {} {{ {} }}", short(fix.dtype), bounds(fix))),
            );
            block.push("kernel none;".into());
            let silenced = fix.as_ref().map(silenced).unwrap_or_default();
            format!(
                "{silenced}{modifier}pattern {}: {list} {{ {} }}\n",
                alternatives(patterns).join(" | "),
                block.join(" ")
            )
        }
    }
}

/// Chains that differ in their last operator alone become one: `a + {b | c}`.
fn alternatives(patterns: &[Pattern]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = patterns;
    while let Some((first, more)) = rest.split_first() {
        let head = |pattern: &Pattern| match pattern {
            Pattern::Chain(ops) => ops
                .split_last()
                .filter(|(_, head)| !head.is_empty())
                .map(|(last, head)| (head.join(" + "), last.clone())),
            Pattern::Tree(_) => None,
        };
        let Some((start, last)) = head(first) else {
            texts.push(first.text());
            rest = more;
            continue;
        };
        let same = more
            .iter()
            .map_while(head)
            .take_while(|(other, _)| *other == start);
        let ends: Vec<String> = [last]
            .into_iter()
            .chain(same.map(|(_, last)| last))
            .collect();
        rest = more.get(ends.len() - 1..).unwrap_or_default();
        texts.push(match ends.as_slice() {
            [only] => format!("{start} + {only}"),
            _ => format!("{start} + {{{}}}", ends.join(" | ")),
        });
    }
    texts
}
