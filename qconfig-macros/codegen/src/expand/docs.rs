//! Documentation of what is generated.

use crate::model::{ConfigModel, Model, PatternModel};

/// The tables on the static.
pub(super) fn backend(model: &Model) -> String {
    let mut text = String::from("\n# Dtype configs\n\n| name | dtypes |\n|---|---|\n");
    for config in &model.configs {
        text.push_str(&format!(
            "| `{}` | {} |\n",
            config.ident,
            config.readable().replace(" | ", "; ")
        ));
    }
    text.push_str("\n# Patterns\n\n| pattern | dtype configs: kernel |\n|---|---|\n");
    for pattern in &model.patterns {
        text.push_str(&format!(
            "| `{}` | {} |\n",
            pattern.expr.text(),
            support(model, pattern)
        ));
    }
    text
}

fn support(model: &Model, pattern: &PatternModel) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (found, bindings) in pattern.refs.iter().zip(&pattern.bindings) {
        let config = &model.configs[found.config].ident;
        let kernel = bindings.first().and_then(|binding| binding.kernel);
        parts.push(match kernel {
            Some(kernel) => format!("`{config}`: {}", family(&model.kernels[kernel].text)),
            None => format!("`{config}`: none"),
        });
    }
    parts.join(", ")
}

/// `crate::kernels::Q8Conv` is `Q8Conv`.
pub(super) fn family(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// The line on a dtype config.
pub(super) fn config(config: &ConfigModel) -> String {
    format!("\n`{}`", config.readable())
}
