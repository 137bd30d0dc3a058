//! Backends as tables.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use qconfig::{BackendConfig, BackendPatternConfig, DTypeConfig, DTypeWithConstraints};

pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// One row a backend.
pub(crate) fn list(backends: &[&BackendConfig]) -> Table {
    let mut table = new(&["backend", "patterns", "pairs", "with kernel", "kernels"]);
    for backend in backends {
        let (pairs, bound) = backend.coverage();
        table.add_row([
            backend.name.to_string(),
            backend.configs.len().to_string(),
            pairs.to_string(),
            bound.to_string(),
            backend.kernels.len().to_string(),
        ]);
    }
    table
}

/// One row a pattern and dtype config.
pub(crate) fn table(backend: &BackendConfig) -> Table {
    let mut table = new(&[
        "pattern",
        "dtype config",
        "input",
        "output",
        "weight",
        "bias",
        "kernel",
    ]);
    for config in backend.configs {
        for (at, dtypes) in config.dtype_configs.iter().enumerate() {
            table.add_row(row(backend, config, at, dtypes));
        }
    }
    table
}

fn row(
    backend: &BackendConfig,
    config: &BackendPatternConfig,
    at: usize,
    dtypes: &DTypeConfig,
) -> Vec<String> {
    let side = |side: &Option<DTypeWithConstraints>| side.as_ref().map(bounds).unwrap_or_default();
    vec![
        if at == 0 {
            config.pattern.to_string()
        } else {
            String::new()
        },
        format!(
            "{}{}",
            dtypes.name,
            if dtypes.is_dynamic { " (dynamic)" } else { "" }
        ),
        side(&dtypes.input),
        side(&dtypes.output),
        side(&dtypes.weight),
        dtypes.bias.map(|bias| bias.to_string()).unwrap_or_default(),
        backend
            .kernel(config, at)
            .map_or("none", |kernel| kernel.name)
            .to_string(),
    ]
}

/// `qint8, -127..=127, scale >= 2^-12`.
fn bounds(dtype: &DTypeWithConstraints) -> String {
    let mut text = dtype.dtype.to_string();
    if let (Some(min), Some(max)) = (dtype.quant_min_lower_bound, dtype.quant_max_upper_bound) {
        text += &format!(", {min}..={max}");
    }
    for (sign, scale) in [
        (">=", dtype.scale_min_lower_bound),
        ("<=", dtype.scale_max_upper_bound),
        ("=", dtype.scale_exact_match),
    ] {
        if let Some(scale) = scale {
            text += &format!(", scale {sign} {}", power_of_two(scale));
        }
    }
    if let Some(zero_point) = dtype.zero_point_exact_match {
        text += &format!(", zero point = {zero_point}");
    }
    text
}

fn power_of_two(scale: f64) -> String {
    let exponent = scale.log2();
    if exponent.fract() == 0.0 && exponent < 0.0 {
        format!("2^{exponent}")
    } else {
        scale.to_string()
    }
}
