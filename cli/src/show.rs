//! Backends as tables.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
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

/// The same table for a document.
pub(crate) fn markdown(backend: &BackendConfig) -> Table {
    let mut table = table(backend);
    table
        .load_preset(ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn row(
    backend: &BackendConfig,
    config: &BackendPatternConfig,
    at: usize,
    dtypes: &DTypeConfig,
) -> Vec<String> {
    let side = |side: &Option<DTypeWithConstraints>| {
        side.as_ref().map(ToString::to_string).unwrap_or_default()
    };
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
