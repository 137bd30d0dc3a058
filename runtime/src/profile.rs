//! How long each step takes.

use std::time::{Duration, Instant};

use crate::session::{RunError, Session};

/// How long the steps of a plan take, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    steps: Vec<StepProfile>,
    runs: usize,
}

/// One step of a [`Profile`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepProfile {
    /// The node's name in the model.
    pub name: String,
    /// The kernel family.
    pub kernel: &'static str,
    /// The variant that the session's instruction set gets: `8x16c4__avx2`.
    pub variant: &'static str,
    /// Dimensions of the first input, in storage order.
    pub input: Vec<usize>,
    /// Dimensions of the output, in storage order.
    pub output: Vec<usize>,
    /// Multiply-adds, as [`crate::Step::multiply_adds`] has them.
    pub multiply_adds: u64,
    /// The median over the runs.
    pub time: Duration,
}

impl StepProfile {
    /// Operations a second, two for each multiply-add; `None` where there are none to count.
    pub fn operations_per_second(&self) -> Option<f64> {
        rate(self.multiply_adds, self.time)
    }
}

fn rate(multiply_adds: u64, time: Duration) -> Option<f64> {
    let rate = 2.0 * multiply_adds as f64 / time.as_secs_f64();
    (multiply_adds > 0 && rate.is_finite()).then_some(rate)
}

impl Profile {
    /// The steps.
    pub fn steps(&self) -> &[StepProfile] {
        &self.steps
    }

    /// How many runs the times are medians of.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// The sum of the steps' times.
    pub fn total(&self) -> Duration {
        self.steps.iter().map(|step| step.time).sum()
    }

    /// Operations a second of the whole, two for each multiply-add; `None` where there are none.
    pub fn operations_per_second(&self) -> Option<f64> {
        let counts = self.steps.iter().map(|step| step.multiply_adds);
        rate(counts.fold(0, u64::saturating_add), self.total())
    }

    /// A step's part of the total, 0 to 1.
    pub fn share(&self, step: &StepProfile) -> f64 {
        let total = self.total().as_secs_f64();
        if total > 0.0 {
            step.time.as_secs_f64() / total
        } else {
            0.0
        }
    }
}

impl Session<'_> {
    /// Runs `runs` times (at least once), as [`Session::run`] does, on the inputs as they are, and gives the
    /// median time of each step. Reading the clock adds some tens of nanoseconds to each.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn profile(&mut self, runs: usize) -> Result<Profile, RunError> {
        let runs = runs.max(1);
        let mut times = vec![Vec::with_capacity(runs); self.plan().steps().len()];
        for _ in 0..runs {
            let mut before = Instant::now();
            self.run_each(|step| {
                let now = Instant::now();
                if let Some(times) = times.get_mut(step) {
                    times.push(now.duration_since(before));
                }
                before = Instant::now();
            })?;
        }
        let (plan, isa) = (self.plan(), self.isa());
        let shape = |id| plan.tensor(id).map(|tensor| tensor.shape().to_vec());
        let rows = plan.steps().iter().zip(&mut times);
        let steps = rows.map(|(step, times)| {
            times.sort_unstable();
            let first = step.inputs().first().copied();
            StepProfile {
                name: step.name().to_string(),
                kernel: step.kernel().name,
                variant: plan.variant(step, isa),
                input: first.and_then(shape).unwrap_or_default(),
                output: shape(step.output()).unwrap_or_default(),
                multiply_adds: step.multiply_adds(),
                time: times.get(times.len() / 2).copied().unwrap_or_default(),
            }
        });
        Ok(Profile {
            steps: steps.collect(),
            runs,
        })
    }
}
