//! Tensors of the flow: row-major, in PyTorch's logical order (channels first); floats, or indices.

/// A dense tensor of `f32`, or of indices, row-major: `[N, C, H, W]` for images.
///
/// ```
/// let t = qconfig_quantize::Tensor::new(vec![2, 3], vec![0.0; 6]).unwrap();
/// assert_eq!(t.shape(), [2, 3]);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
    /// Indices, in place of the floats.
    integers: Option<Vec<i64>>,
}

/// The values do not fill the shape.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("shape {shape:?} holds {} values, {found} were given", expected.map_or("too many".to_string(), |n| n.to_string()))]
pub struct ShapeError {
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// Its number of elements, if that can be counted.
    pub expected: Option<usize>,
    /// Values given.
    pub found: usize,
}

impl Tensor {
    /// A tensor of that shape.
    ///
    /// # Errors
    /// [`ShapeError`] where `data` does not fill `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, ShapeError> {
        let expected = elements(&shape);
        if expected == Some(data.len()) {
            Ok(Self {
                shape,
                data,
                integers: None,
            })
        } else {
            Err(ShapeError {
                shape,
                expected,
                found: data.len(),
            })
        }
    }

    /// A tensor of integers of that shape: indices, which floats could not hold exactly.
    ///
    /// # Errors
    /// [`ShapeError`] where `values` do not fill `shape`.
    pub fn indices(shape: Vec<usize>, values: Vec<i64>) -> Result<Self, ShapeError> {
        let expected = elements(&shape);
        if expected == Some(values.len()) {
            Ok(Self {
                shape,
                data: Vec::new(),
                integers: Some(values),
            })
        } else {
            Err(ShapeError {
                shape,
                expected,
                found: values.len(),
            })
        }
    }

    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            data: vec![0.0; shape.iter().product()],
            integers: None,
        }
    }

    /// Dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values of a tensor of integers, row-major.
    pub fn integers(&self) -> Option<&[i64]> {
        self.integers.as_deref()
    }

    /// Values, row-major; none of a tensor of integers.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Values, row-major.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The dimensions in another order.
    pub(crate) fn permuted(&self, order: &[usize]) -> Self {
        let strides = row_major(&self.shape);
        let mut places = vec![0];
        for dim in order {
            let steps = (0..self.shape[*dim]).map(|at| at * strides[*dim]);
            let steps: Vec<usize> = steps.collect();
            places = places
                .iter()
                .flat_map(|place| steps.iter().map(move |step| place + step))
                .collect();
        }
        Self {
            shape: order.iter().map(|dim| self.shape[*dim]).collect(),
            data: places.iter().map(|at| self.data[*at]).collect(),
            integers: None,
        }
    }

    /// The same values under another shape of as many elements.
    ///
    /// # Errors
    /// [`ShapeError`] where the counts differ.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, ShapeError> {
        Self::new(shape.to_vec(), self.data.clone())
    }
}

/// Number of elements, or `None` where the product overflows.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))
}

/// Elements between neighbours of each dimension, row-major.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}
