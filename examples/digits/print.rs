//! Tables for the terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use qconfig::Isa;
use qconfig::quantize::{Graph, LayerReport};

use crate::data::Digits;
use crate::evaluate::Score;

/// What is about to happen.
pub(crate) fn header(float: &Graph, digits: &Digits, isa: Isa) {
    println!(
        "Digits: a trained MNIST network of {} nodes, quantized for QNNPACK.",
        float.nodes().len()
    );
    println!(
        "{} digits to calibrate, {} others to evaluate; instruction set {isa}, one thread.\n",
        digits.calibration.len(),
        digits.eval.images.len()
    );
}

fn table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        header
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
    );
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn shape(dims: &[usize]) -> String {
    dims.iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}

/// One row a layer.
pub(crate) fn layers(title: &str, layers: &[LayerReport]) {
    println!("{title}");
    let mut table = table(
        &[
            "layer",
            "pattern",
            "dtype config",
            "kernel",
            "shapes",
            "SQNR dB",
        ],
        5,
    );
    for layer in layers {
        let pattern = match layer.chain == layer.pattern {
            true => layer.pattern.clone(),
            false => format!("{} = {}", layer.pattern, layer.chain),
        };
        let kernel = if layer.kernel.is_empty() {
            "none needed: same bytes"
        } else {
            &layer.kernel
        };
        let float = layer.dtype_config.starts_with("float");
        table.add_row(vec![
            Cell::new(&layer.node),
            Cell::new(pattern),
            Cell::new(&layer.dtype_config).fg(if float { Color::Red } else { Color::Green }),
            Cell::new(kernel),
            Cell::new(format!(
                "{} -> {}",
                shape(&layer.input),
                shape(&layer.output)
            )),
            Cell::new(if layer.sqnr_db.is_nan() {
                String::new()
            } else {
                format!("{:.1}", layer.sqnr_db)
            }),
        ]);
    }
    println!("{table}\n");
}

/// Float beside both quantized models.
pub(crate) fn summary(float: &Graph, truth: &Score, results: &[(&str, Score)]) {
    let mut table = table(
        &[
            "model",
            "accuracy",
            "agrees with float",
            "median",
            "speed-up",
            "weights",
        ],
        1,
    );
    let name = format!("float32, {} nodes", float.nodes().len());
    for (name, score) in
        std::iter::once((name.as_str(), truth)).chain(results.iter().map(|(name, s)| (*name, s)))
    {
        table.add_row(vec![
            name.to_string(),
            format!(
                "{:.2} % ({} of {})",
                100.0 * score.right as f64 / score.of as f64,
                score.right,
                score.of
            ),
            format!("{:.2} %", 100.0 * score.agree as f64 / score.of as f64),
            format!("{:.1} us", score.median.as_secs_f64() * 1e6),
            format!(
                "{:.1}x",
                truth.median.as_secs_f64() / score.median.as_secs_f64()
            ),
            format!("{:.0} KiB", score.weight_bytes as f64 / 1024.0),
        ]);
    }
    println!("{table}");
}
