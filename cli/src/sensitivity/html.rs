//! One page that needs nothing else: a table of layers with plots.

use std::fmt::Write as _;

use plotters::prelude::*;
use qconfig::quantize::Histogram;

use super::{Layer, Whole, decibels, left, outputs};
use crate::html::escaped;

const STYLE: &str = "
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #1c1c1c; }
h1 { font-size: 1.3rem; } p { max-width: 60rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: middle; }
th { position: sticky; top: 0; background: #fff; cursor: pointer; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #d9534f; height: .7rem; display: inline-block; } .time { background: #4a7fb5; }
.float td:first-child::after { content: ' stays float'; color: #d9534f; font-size: .8em; }
.half td:first-child::after { content: ' in half precision'; color: #d9534f; font-size: .8em; }
input { font: inherit; padding: .2rem .4rem; margin: 1rem 0; width: 20rem; } small { color: #666; }
";

/// Sorts by a column, and hides the layers whose names do not hold what is typed.
const SCRIPT: &str = "
const body = document.querySelector('tbody');
document.getElementById('filter').addEventListener('input', event => {
  const wanted = event.target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
});
document.querySelectorAll('th').forEach((head, at) => head.addEventListener('click', () => {
  const value = row => { const text = row.cells[at].dataset.value ?? row.cells[at].textContent; const n = parseFloat(text); return isNaN(n) ? text : n; };
  const sign = head.dataset.sign = head.dataset.sign === '1' ? '-1' : '1';
  [...body.rows].sort((a, b) => { const x = value(a), y = value(b); return sign * (x < y ? -1 : x > y ? 1 : 0); }).forEach(row => body.append(row));
}));
";

/// A small plot without axes; its range stands below it.
fn plot(histogram: &Histogram, colour: RGBColor) -> String {
    let (width, height) = (160u32, 36u32);
    let mut svg = String::new();
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        let shares = histogram.counts.len().max(1);
        for (at, count) in histogram.counts.iter().enumerate() {
            // the logarithm: one value of a million is still seen
            let tall = ((*count as f64).ln_1p() / (most as f64).ln_1p() * f64::from(height)) as i32;
            let left = (at * width as usize / shares) as i32;
            let right = ((at + 1) * width as usize / shares) as i32;
            let corners = [(left, height as i32 - tall), (right, height as i32)];
            // a drawing in memory does not fail
            let _ = area.draw(&Rectangle::new(corners, colour.filled()));
        }
        let _ = area.present();
    }
    let [low, high] = histogram.range;
    format!("{svg}<br><small>{low:.3} .. {high:.3}</small>")
}

/// The page.
pub(super) fn page(model: &str, layers: &[Layer], whole: &Whole) -> String {
    let loudest = layers
        .iter()
        .map(|layer| layer.found.noise)
        .fold(1e-300, f64::max);
    let slowest = layers
        .iter()
        .filter_map(|layer| layer.microseconds)
        .fold(1e-9, f64::max);
    let mut rows = String::new();
    for layer in layers {
        let found = &layer.found;
        let float = if whole.float.contains(&found.node) {
            " class=float"
        } else if whole.half.contains(&found.node) {
            " class=half"
        } else {
            ""
        };
        let noise = 100.0 * found.noise / loudest;
        let micros = layer.microseconds.unwrap_or(0.0);
        let weights = layer.weights.as_ref().map_or(String::new(), |weights| {
            plot(weights, RGBColor(90, 140, 90))
        });
        let _ = writeln!(
            rows,
            "<tr{float}><td>{}</td><td>{}</td><td class=n data-value='{}'>{}</td>\
             <td data-value='{}'><span class=bar style='width:{:.1}px'></span></td>\
             <td class=n>{}</td><td class=n>{micros:.1}</td>\
             <td data-value='{micros}'><span class='bar time' style='width:{:.1}px'></span></td>\
             <td>{}</td><td>{weights}</td><td>{}</td></tr>",
            escaped(&found.node),
            escaped(&found.pattern),
            found.output_db,
            decibels(found.output_db),
            found.noise,
            1.2 * noise,
            decibels(found.layer_db),
            120.0 * micros / slowest,
            escaped(&layer.kernel),
            plot(&layer.activations, RGBColor(120, 100, 160)),
        );
    }
    let mixed = match whole.mixed_db {
        Some(db) => format!(" With {}, {}.", left(whole), outputs(db)),
        None => String::new(),
    };
    format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>Sensitivity of {title}</title>\n\
         <style>{STYLE}</style>\n<h1>Sensitivity of {title}</h1>\n\
         <p>Each layer quantized alone: signal to noise at the model's outputs, the loudest first. \
         Everything quantized: {all}.{mixed} Click a heading to sort.</p>\n\
         <input id=filter placeholder='filter layers' aria-label='filter layers'>\n\
         <table><thead><tr><th>layer<th>pattern<th>outputs, dB<th>noise<th>layer, dB<th>us<th>time<th>kernel\
         <th>weights<th>activations</thead>\n<tbody>\n{rows}</tbody></table>\n<script>{SCRIPT}</script></html>\n",
        title = escaped(model),
        all = outputs(whole.sqnr_db),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_bar_for_each_share() {
        let histogram = Histogram::of(&[0.0, 1.0, 2.0, 3.0], 4);
        assert_eq!(plot(&histogram, RED).matches("<rect").count(), 4);
    }
}
