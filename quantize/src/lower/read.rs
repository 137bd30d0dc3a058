//! The values of a plan, read back after a run.

use qconfig_core::DType;
use qconfig_core::kernel::QParams;
use qconfig_runtime::{BufferError, Session};

use super::Lowered;
use super::form::Layout;
use crate::graph::ValueId;
use crate::tensor::Tensor;

impl Lowered {
    /// The float values of a graph value after a run that kept every tensor
    /// (`SessionOptions::keep_all`), channels first; `None` where the plan does not hold the value.
    ///
    /// # Errors
    /// [`BufferError`] where the session did not keep every tensor.
    pub fn read(
        &self,
        session: &Session<'_>,
        value: ValueId,
    ) -> Result<Option<Tensor>, BufferError> {
        let Some(stored) = self.values.get(&value).and_then(|forms| forms.first()) else {
            return Ok(None);
        };
        let bytes = session.tensor_bytes(stored.tensor)?;
        let Some(tensor) = self.plan.tensor(stored.tensor) else {
            return Ok(None);
        };
        let floats: Vec<f32> = match stored.qparams {
            None => bytes
                .chunks_exact(4)
                .map(|word| f32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
                .collect(),
            Some(QParams { scale, zero_point }) => {
                let flip = if stored.dtype == DType::qint8 { 128 } else { 0 };
                bytes
                    .iter()
                    .map(|q| scale * (i32::from(*q) - zero_point - flip) as f32)
                    .collect()
            }
        };
        // the spatial shape whose channels-last order the bytes have, if they have one
        let order = match stored.layout {
            Layout::Logical => None,
            Layout::ChannelsLast => Some(tensor.shape()),
            Layout::FlatChannelsLast(origin) => self.channels_last_shape(origin),
        };
        let Some([n, spatial @ .., c]) = order else {
            return Ok(Tensor::new(tensor.shape().to_vec(), floats).ok());
        };
        let area: usize = spatial.iter().product();
        let at = |i: usize| {
            let (image, rest) = (i / (c * area), i % (c * area));
            image * c * area + (rest % area) * c + rest / area
        };
        let floats = (0..floats.len()).map(|i| floats[at(i)]).collect();
        let shape = match stored.layout {
            Layout::FlatChannelsLast(_) => tensor.shape().to_vec(),
            _ => [&[*n, *c], spatial].concat(),
        };
        Ok(Tensor::new(shape, floats).ok())
    }

    fn channels_last_shape(&self, value: ValueId) -> Option<&[usize]> {
        let forms = self.values.get(&value)?;
        let stored = forms
            .iter()
            .find(|stored| stored.layout == Layout::ChannelsLast)?;
        self.plan
            .tensor(stored.tensor)
            .map(qconfig_runtime::Tensor::shape)
    }
}
