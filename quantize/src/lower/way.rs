//! How a node is computed: by a pattern of the backend, or on floats.

use qconfig_core::kernel::{NodeOp, QParams};
use qconfig_core::{DType, DTypeWithConstraints, Kernel};

use super::{LowerError, Lowering};
use crate::graph::{Node, ValueId};
use crate::prepare::{Decision, FloatReason, Quantized};
use crate::weight_only::WeightOnly;

/// How a node is computed.
#[derive(Clone, Copy)]
pub(super) enum Way<'m> {
    /// By a pattern of the backend.
    Quantized(&'m Quantized),
    /// On floats, with a weight of few bits.
    WeightOnly(&'m WeightOnly),
    /// On floats, for this reason.
    Float(&'m FloatReason),
}

impl<'m> From<&'m Decision> for Way<'m> {
    fn from(decision: &'m Decision) -> Self {
        match decision {
            Decision::Quantized(quantized) => Way::Quantized(quantized),
            Decision::WeightOnly(how) => Way::WeightOnly(how),
            Decision::Float(reason) => Way::Float(reason),
        }
    }
}

impl Way<'_> {
    /// What goes in, by the dtype config.
    pub(super) fn input(&self) -> Option<DTypeWithConstraints> {
        match self {
            Way::Quantized(quantized) => quantized.dtypes().input,
            Way::WeightOnly(_) | Way::Float(_) => None,
        }
    }

    /// What comes out.
    pub(super) fn output(&self) -> Option<DTypeWithConstraints> {
        match self {
            Way::Quantized(quantized) => quantized.dtypes().output,
            Way::WeightOnly(_) | Way::Float(_) => None,
        }
    }

    /// How a weight of floats is stored by a kernel that takes one.
    pub(super) fn float_weight(&self) -> DType {
        match self {
            Way::Quantized(quantized) => {
                let weight = quantized.dtypes().weight;
                weight.map_or(DType::float16, |weight| weight.dtype)
            }
            Way::WeightOnly(_) | Way::Float(_) => DType::float32,
        }
    }

    /// Whether activations are quantized ahead of time.
    pub(super) fn is_static(&self) -> bool {
        matches!(self, Way::Quantized(quantized) if quantized.is_static())
    }

    /// Whether it is computed on floats.
    pub(super) fn is_float(&self) -> bool {
        matches!(self, Way::WeightOnly(_) | Way::Float(_))
    }

    /// The pattern, or how the operator is spelled.
    pub(super) fn pattern(&self, node: &Node) -> String {
        match self {
            Way::Quantized(quantized) => quantized.config.pattern.to_string(),
            Way::WeightOnly(_) | Way::Float(_) => node.spelling.dsl.into(),
        }
    }

    /// The dtype config.
    pub(super) fn dtype_config(&self) -> &'static str {
        match self {
            Way::Quantized(quantized) => quantized.dtypes().name,
            Way::WeightOnly(how) => how.name(),
            Way::Float(_) => "float32",
        }
    }

    /// Quantize activations to 7 bits.
    pub(super) fn reduce_range(&self) -> bool {
        match self {
            Way::Quantized(quantized) => quantized.qconfig.activation.reduce_range,
            Way::WeightOnly(_) | Way::Float(_) => false,
        }
    }
}

impl Lowering<'_> {
    /// The kernel that the backend binds, or that of the operator on floats.
    pub(super) fn kernel(
        &self,
        node: &Node,
        way: Way<'_>,
        op: &NodeOp,
    ) -> Result<&'static Kernel, LowerError> {
        match way {
            Way::Quantized(quantized) => {
                let config = quantized.config;
                let backend = self.model.backend;
                let found = backend.kernel(config, quantized.dtype_config);
                found.ok_or_else(|| LowerError::NoKernel {
                    node: node.name.clone(),
                    backend: backend.name,
                    pattern: config.pattern.to_string(),
                    dtype_config: quantized.dtypes().name,
                    file: config.origin.file,
                    line: config.origin.line,
                })
            }
            Way::WeightOnly(_) => qconfig_kernels::float(op).ok_or_else(|| LowerError::Float {
                node: node.name.clone(),
                pattern: node.spelling.dsl.into(),
                reason: FloatReason::NotRounded,
            }),
            Way::Float(reason) => qconfig_kernels::float(op).ok_or_else(|| LowerError::Float {
                node: node.name.clone(),
                pattern: node.spelling.dsl.into(),
                reason: reason.clone(),
            }),
        }
    }

    /// Dtype and parameters of a value for one side of a node.
    pub(super) fn typed(
        &self,
        id: ValueId,
        wanted: Option<DTypeWithConstraints>,
        way: Way<'_>,
    ) -> Result<(DType, Option<QParams>), LowerError> {
        let value = &self.model.graph.values[id.0];
        let Some(wanted) = wanted.filter(|_| way.is_static()) else {
            return Ok((value.dtype, None));
        };
        match self.model.qparams.get(&(id, wanted.dtype)) {
            Some(qparams) => Ok((wanted.dtype, Some(*qparams))),
            None => Err(LowerError::NotObserved {
                value: value.name.clone(),
                dtype: wanted.dtype,
            }),
        }
    }
}
