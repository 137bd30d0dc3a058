//! Observers: they watch values during calibration and answer with scale and zero point.

mod histogram;
mod qparams;
mod range;

use qconfig_core::kernel::QParams;
use qconfig_core::{ObserverKind, ObserverSpec};

pub use histogram::Histogram;
pub use qparams::{ChannelQParams, float_from_range, from_range};
pub use range::Range;

use crate::tensor::Tensor;

/// The state of an observer.
#[derive(Clone, Debug)]
pub struct Observer {
    spec: ObserverSpec,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Range(Range),
    Channels(Vec<Range>),
    Histogram(Histogram),
    Nothing,
}

/// An observer cannot answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// It saw no value.
    #[error("saw no data; calibrate with at least one sample")]
    Empty,
    /// NaN or infinity among the values.
    #[error("saw NaN or infinity")]
    NotFinite,
    /// It computes nothing: a placeholder.
    #[error("its observer computes no parameters")]
    NoParameters,
}

impl Observer {
    /// An observer that saw nothing yet.
    pub fn new(spec: ObserverSpec) -> Self {
        let state = match spec.kind {
            ObserverKind::MinMax | ObserverKind::MovingAverageMinMax { .. } => {
                State::Range(Range::default())
            }
            ObserverKind::PerChannelMinMax { .. }
            | ObserverKind::MovingAveragePerChannelMinMax { .. } => State::Channels(Vec::new()),
            ObserverKind::Histogram { bins } | ObserverKind::Percentile { bins, .. } => {
                State::Histogram(Histogram::new(bins))
            }
            _ => State::Nothing,
        };
        Self { spec, state }
    }

    /// What it was made from.
    pub fn spec(&self) -> &ObserverSpec {
        &self.spec
    }

    /// Watches a tensor.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`]; the state is then what it was before.
    pub fn observe(&mut self, tensor: &Tensor) -> Result<(), ObserveError> {
        if !tensor.data().iter().all(|x| x.is_finite()) {
            return Err(ObserveError::NotFinite);
        }
        match (&mut self.state, self.spec.kind) {
            (State::Range(range), ObserverKind::MovingAverageMinMax { averaging_constant }) => {
                range.average(Range::of(tensor.data()), averaging_constant);
            }
            (State::Range(range), _) => range.widen(Range::of(tensor.data())),
            (State::Channels(ranges), kind) => {
                let (axis, constant) = match kind {
                    ObserverKind::MovingAveragePerChannelMinMax {
                        averaging_constant,
                        ch_axis,
                    } => (ch_axis, Some(averaging_constant)),
                    ObserverKind::PerChannelMinMax { ch_axis } => (ch_axis, None),
                    _ => (0, None),
                };
                let seen = range::by_channel(tensor, axis);
                ranges.resize(seen.len(), Range::default());
                for (range, new) in ranges.iter_mut().zip(seen) {
                    match constant {
                        Some(constant) => range.average(new, constant),
                        None => range.widen(new),
                    }
                }
            }
            (State::Histogram(histogram), _) => histogram.observe(tensor.data()),
            (State::Nothing, _) => {}
        }
        Ok(())
    }

    /// Scale and zero point for the whole tensor.
    ///
    /// # Errors
    /// [`ObserveError`] where nothing was seen, or the observer computes nothing.
    pub fn qparams(&self) -> Result<QParams, ObserveError> {
        if let ObserverKind::FixedQParams { scale, zero_point } = self.spec.kind {
            return Ok(QParams {
                scale: scale as f32,
                zero_point: zero_point as i32,
            });
        }
        let range = match &self.state {
            State::Range(range) => range.get(),
            State::Histogram(histogram) => match self.spec.kind {
                ObserverKind::Percentile { percentile, .. } => histogram.share(percentile / 100.0),
                _ => histogram.search(quant_levels(&self.spec)),
            },
            State::Channels(_) | State::Nothing => return Err(ObserveError::NoParameters),
        };
        let (min, max) = range.ok_or(ObserveError::Empty)?;
        from_range(&self.spec, min, max).ok_or(ObserveError::NoParameters)
    }

    /// A scale and a zero point, which is a float, for each row of a table.
    ///
    /// # Errors
    /// As [`Observer::qparams`], and where it does not watch channels.
    pub fn row_qparams(&self) -> Result<(Vec<f32>, Vec<f32>), ObserveError> {
        let State::Channels(ranges) = &self.state else {
            return Err(ObserveError::NoParameters);
        };
        let (mut scales, mut zero_points) = (Vec::new(), Vec::new());
        for range in ranges {
            let (min, max) = range.get().ok_or(ObserveError::Empty)?;
            let pair = float_from_range(&self.spec, min, max).ok_or(ObserveError::NoParameters)?;
            scales.push(pair.0);
            zero_points.push(pair.1);
        }
        if scales.is_empty() {
            Err(ObserveError::Empty)
        } else {
            Ok((scales, zero_points))
        }
    }

    /// Scales and zero points: one pair, or one for each channel.
    ///
    /// # Errors
    /// As [`Observer::qparams`].
    pub fn channel_qparams(&self) -> Result<ChannelQParams, ObserveError> {
        let State::Channels(ranges) = &self.state else {
            let QParams { scale, zero_point } = self.qparams()?;
            return Ok(ChannelQParams {
                scales: vec![scale],
                zero_points: vec![zero_point],
            });
        };
        let mut out = ChannelQParams::default();
        for range in ranges {
            let (min, max) = range.get().ok_or(ObserveError::Empty)?;
            let QParams { scale, zero_point } =
                from_range(&self.spec, min, max).ok_or(ObserveError::NoParameters)?;
            out.scales.push(scale);
            out.zero_points.push(zero_point);
        }
        if out.scales.is_empty() {
            Err(ObserveError::Empty)
        } else {
            Ok(out)
        }
    }
}

/// `2 ** torch.iinfo(dtype).bits`: the levels that the histogram's search quantizes to.
fn quant_levels(spec: &ObserverSpec) -> usize {
    1 << spec.dtype.bits().min(16)
}
