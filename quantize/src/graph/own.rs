//! Operators that are not PyTorch's.

use core::fmt;
use std::sync::Arc;

use crate::tensor::Tensor;

/// An operator of one's own: what a graph must know of it. Its kernel is the backend's, bound by a spec to the
/// spelling that the node has.
pub trait OwnOp: fmt::Debug + Send + Sync {
    /// What kernels know it by ([`qconfig_core::kernel::NodeOp::Own`]).
    fn name(&self) -> &'static str;

    /// How many tensors it takes, at least one.
    fn inputs(&self) -> usize {
        1
    }

    /// The shape of its output.
    ///
    /// # Errors
    /// What does not fit, to be shown with the node and its first input's shape.
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String>;

    /// Computes the output in float, row-major: what calibration watches and quantized results are held against.
    fn float(&self, inputs: &[&Tensor], output: &mut [f32]);

    /// Numbers that its kernel is given when a plan is made (`NodeSpec::parameters`); none by default.
    fn parameters(&self) -> Vec<f32> {
        Vec::new()
    }
}

/// A node's operator of one's own; two are equal where they are the same object.
#[derive(Clone)]
pub struct Own {
    op: Arc<dyn OwnOp>,
    parameters: Arc<[f32]>,
}

impl Own {
    /// Takes an operator in.
    pub fn new(op: impl OwnOp + 'static) -> Self {
        let parameters = op.parameters().into();
        Self {
            op: Arc::new(op),
            parameters,
        }
    }

    /// The operator.
    pub fn op(&self) -> &dyn OwnOp {
        &*self.op
    }

    pub(crate) fn parameters(&self) -> &[f32] {
        &self.parameters
    }
}

impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.op, &other.op)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)
    }
}
