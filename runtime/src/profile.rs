//! How long each step takes.

use std::time::{Duration, Instant};

use crate::session::{RunError, Session};

/// Durations of the steps of a plan, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    steps: Vec<Duration>,
}

impl Profile {
    /// The duration of each step.
    pub fn steps(&self) -> &[Duration] {
        &self.steps
    }

    /// Their sum.
    pub fn total(&self) -> Duration {
        self.steps.iter().sum()
    }
}

impl Session<'_> {
    /// As [`Session::run`], with the time that each step took. Reading the clock adds some tens of
    /// nanoseconds to each; the profile is allocated before the first.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_profiled(&mut self) -> Result<Profile, RunError> {
        let mut profile = Profile {
            steps: Vec::with_capacity(self.plan().steps().len()),
        };
        let mut before = Instant::now();
        self.run_each(|_| {
            let now = Instant::now();
            profile.steps.push(now.duration_since(before));
            before = now;
        })?;
        Ok(profile)
    }
}
