//! Where the time of a plan goes, step by step.

use std::path::Path;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table};
use qconfig::Isa;
use qconfig::kernels::peak;
use qconfig::runtime::{Profile, StepProfile};
use serde_json::{Value, json};

use crate::model;

/// What was measured.
pub(crate) struct Profiled {
    profile: Profile,
    isa: Isa,
    threads: usize,
    /// Operations a second of as many cores as there are threads.
    peak: Option<f64>,
}

/// Runs a saved plan on inputs of zeros.
pub(crate) fn profile(path: &Path, runs: usize, threads: usize) -> anyhow::Result<Profiled> {
    let mut session = model::session(model::plan(path)?, threads)?;
    let isa = session.isa();
    let peak = peak(isa).map(|one| one * threads as f64);
    // caches and clocks settle
    session.profile(runs.div_ceil(10))?;
    Ok(Profiled {
        profile: session.profile(runs)?,
        isa,
        threads,
        peak,
    })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    dims.join("x")
}

impl Profiled {
    fn of_peak(&self, rate: f64) -> Option<f64> {
        self.peak.map(|peak| rate / peak)
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header([
                "step", "kernel", "variant", "shapes", "us", "share", "GOPS", "of peak",
            ]);
        let rates = |rate: Option<f64>| {
            let share = rate.and_then(|rate| self.of_peak(rate));
            [
                rate.map_or(String::new(), |rate| format!("{:.1}", rate / 1e9)),
                share.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
            ]
        };
        for step in self.profile.steps() {
            let [rate, of_peak] = rates(step.operations_per_second());
            table.add_row([
                step.name.clone(),
                step.kernel.into(),
                step.variant.into(),
                format!("{} -> {}", shape(&step.input), shape(&step.output)),
                format!("{:.1}", microseconds(step.time)),
                format!("{:.1} %", 100.0 * self.profile.share(step)),
                rate,
                of_peak,
            ]);
        }
        let [rate, of_peak] = rates(self.profile.operations_per_second());
        let total = format!("{:.1}", microseconds(self.profile.total()));
        let whole = ["total", "", "", "", &total, "100.0 %", &rate, &of_peak];
        table.add_row(whole.map(|text| Cell::new(text).add_attribute(Attribute::Bold)));
        for column in table.column_iter_mut().skip(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n{table}", self.summary())
    }

    fn summary(&self) -> String {
        let peak = match self.peak {
            Some(peak) => format!("peak {:.0} GOPS", peak / 1e9),
            None => "peak unknown".into(),
        };
        format!(
            "{} steps, medians of {} runs; instruction set {}, {} thread{}, {peak}",
            self.profile.steps().len(),
            self.profile.runs(),
            self.isa,
            self.threads,
            if self.threads == 1 { "" } else { "s" },
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let step = |step: &StepProfile| {
            let rate = step.operations_per_second();
            json!({
                "name": step.name,
                "kernel": step.kernel,
                "variant": step.variant,
                "input": step.input,
                "output": step.output,
                "nanoseconds": step.time.as_nanos() as u64,
                "share": self.profile.share(step),
                "multiply_adds": step.multiply_adds,
                "operations_per_second": rate,
                "of_peak": rate.and_then(|rate| self.of_peak(rate)),
            })
        };
        json!({
            "isa": self.isa.level().name(),
            "threads": self.threads,
            "runs": self.profile.runs(),
            "peak_operations_per_second": self.peak,
            "nanoseconds": self.profile.total().as_nanos() as u64,
            "operations_per_second": self.profile.operations_per_second(),
            "steps": self.profile.steps().iter().map(step).collect::<Vec<_>>(),
        })
    }
}
