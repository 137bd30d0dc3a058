//! Calibration: the observers watch the float model run.

use std::collections::{BTreeMap, BTreeSet};

use qconfig_core::DType;

use crate::float::{InputError, Visitor, execute};
use crate::graph::ValueId;
use crate::observer::{ObserveError, Observer};
use crate::prepare::{ObserverId, Prepared};
use crate::tensor::Tensor;

/// A prepared model whose observers have seen data.
#[derive(Clone, Debug)]
pub struct Calibrated {
    pub(crate) prepared: Prepared,
    samples: usize,
}

/// Calibration data that cannot be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// No sample, and there are observers.
    #[error("the calibration set is empty; give at least one sample")]
    Empty,
    /// A sample does not fit the graph, or holds NaN or infinity.
    #[error("calibration sample {sample}: {error}")]
    Input {
        /// Its position.
        sample: usize,
        /// What is wrong.
        error: InputError,
    },
    /// A value inside the model became NaN or infinite.
    #[error("calibration sample {sample}: value `{value}`: its observer {error}")]
    Value {
        /// The sample's position.
        sample: usize,
        /// The value's name.
        value: String,
        /// What is wrong.
        error: ObserveError,
    },
}

/// Runs every sample through the float model; the observers watch. `progress` is told after each
/// sample how many are done.
///
/// # Errors
/// [`CalibrateError`]; the prepared model is consumed only on success of the whole, so nothing half
/// calibrated is left behind.
pub fn calibrate(
    prepared: &Prepared,
    samples: impl IntoIterator<Item: AsRef<[Tensor]>>,
    mut progress: impl FnMut(usize),
) -> Result<Calibrated, CalibrateError> {
    let mut prepared = prepared.clone();
    let mut done = 0;
    for (sample, inputs) in samples.into_iter().enumerate() {
        let graph = &prepared.graph;
        let mut watch = Watch {
            observed: &prepared.observed,
            unwatched: &prepared.unwatched,
            observers: &mut prepared.observers,
            failed: None,
        };
        execute(graph, inputs.as_ref(), &mut watch)
            .map_err(|error| CalibrateError::Input { sample, error })?;
        if let Some((value, error)) = watch.failed {
            return Err(CalibrateError::Value {
                sample,
                value: graph.value(value).name.clone(),
                error,
            });
        }
        done = sample + 1;
        progress(done);
    }
    // without observers, as in dynamic quantization, there is nothing to see
    if done == 0 && !prepared.observed.is_empty() {
        Err(CalibrateError::Empty)
    } else {
        Ok(Calibrated {
            prepared,
            samples: done,
        })
    }
}

impl Calibrated {
    /// The model that was calibrated.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// How many samples it has seen.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

struct Watch<'p> {
    observed: &'p BTreeMap<(ValueId, DType), ObserverId>,
    unwatched: &'p BTreeSet<(ValueId, DType)>,
    observers: &'p mut [Observer],
    failed: Option<(ValueId, ObserveError)>,
}

impl Visitor for Watch<'_> {
    fn value(&mut self, id: ValueId, tensor: &mut Tensor) {
        let watching = |key: &(ValueId, DType)| key.0 == id && !self.unwatched.contains(key);
        for (_, observer) in self.observed.iter().filter(|(key, _)| watching(key)) {
            if let Err(error) = self.observers[observer.0].observe(tensor) {
                self.failed.get_or_insert((id, error));
            }
        }
    }
}
