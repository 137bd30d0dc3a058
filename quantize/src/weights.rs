//! Weights from a safetensors file.

use safetensors::{Dtype, SafeTensors};

use crate::tensor::Tensor;

/// Named float tensors of a `.safetensors` file.
///
/// ```no_run
/// let bytes = std::fs::read("model.safetensors").unwrap();
/// let weights = qconfig_quantize::Weights::from_bytes(&bytes).unwrap();
/// let kernel = weights.get("conv.weight").unwrap();
/// ```
#[derive(Debug)]
pub struct Weights<'a>(SafeTensors<'a>);

/// A weight cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not a safetensors file, or a damaged one.
    #[error("not a safetensors file: {0}")]
    File(#[from] safetensors::SafeTensorError),
    /// No tensor of that name.
    #[error("the file has no tensor `{name}`; it has {}", present.join(", "))]
    Missing {
        /// The name asked for.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// Not `F32`.
    #[error("tensor `{name}` is {dtype:?}; convert it to F32")]
    DType {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// The bytes do not fill the shape.
    #[error("tensor `{name}`: {error}")]
    Shape {
        /// The tensor.
        name: String,
        /// What is wrong.
        error: crate::tensor::ShapeError,
    },
}

impl<'a> Weights<'a> {
    /// Reads the file's directory; the values stay where they are.
    ///
    /// # Errors
    /// [`WeightsError::File`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        Ok(Self(SafeTensors::deserialize(bytes)?))
    }

    /// A copy of a tensor.
    ///
    /// # Errors
    /// [`WeightsError`] where there is none of that name, or not of `F32`.
    pub fn get(&self, name: &str) -> Result<Tensor, WeightsError> {
        let Ok(view) = self.0.tensor(name) else {
            let mut present: Vec<String> = self.0.names().into_iter().map(str::to_owned).collect();
            present.sort();
            return Err(WeightsError::Missing {
                name: name.into(),
                present,
            });
        };
        if view.dtype() != Dtype::F32 {
            return Err(WeightsError::DType {
                name: name.into(),
                dtype: view.dtype(),
            });
        }
        let words = view.data().chunks_exact(4);
        let data = words
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        Tensor::new(view.shape().to_vec(), data).map_err(|error| WeightsError::Shape {
            name: name.into(),
            error,
        })
    }
}
