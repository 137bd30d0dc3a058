//! Normalizations.

use qconfig_core::Spelled;
use qconfig_core::operator::{F, nn};

use super::GraphBuilder;
use crate::graph::{BatchNorm, GraphError, Norm, Op, ValueId};

impl GraphBuilder {
    /// Dimensions of a value; none where there is no such value.
    fn dimensions(&self, value: ValueId) -> &[usize] {
        self.values.get(value.0).map_or(&[], |value| &value.shape)
    }

    /// `torch.nn.BatchNorm1d`, `BatchNorm2d` or `BatchNorm3d`, by the rank of the input.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn batch_norm(
        &mut self,
        name: &str,
        input: ValueId,
        bn: BatchNorm,
    ) -> Result<ValueId, GraphError> {
        let spelling = match self.dimensions(input).len() {
            4 => nn::BatchNorm2d::SPELLING,
            5 => nn::BatchNorm3d::SPELLING,
            _ => nn::BatchNorm1d::SPELLING,
        };
        self.node(name, spelling, Op::BatchNorm(bn), &[input])
    }

    /// `torch.nn.InstanceNorm1d`, `InstanceNorm2d` or `InstanceNorm3d`, by the rank of the input.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn instance_norm(
        &mut self,
        name: &str,
        input: ValueId,
        norm: Norm,
    ) -> Result<ValueId, GraphError> {
        let shape = self.dimensions(input);
        let groups = shape.get(1).copied().unwrap_or(0);
        let spelling = match shape.len() {
            4 => nn::InstanceNorm2d::SPELLING,
            5 => nn::InstanceNorm3d::SPELLING,
            _ => nn::InstanceNorm1d::SPELLING,
        };
        self.node(name, spelling, Op::GroupNorm { groups, norm }, &[input])
    }

    /// `torch.nn.functional.group_norm`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn group_norm(
        &mut self,
        name: &str,
        input: ValueId,
        groups: usize,
        norm: Norm,
    ) -> Result<ValueId, GraphError> {
        let op = Op::GroupNorm { groups, norm };
        self.node(name, F::group_norm::SPELLING, op, &[input])
    }

    /// `torch.nn.LayerNorm` over the last `axes` dimensions.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn layer_norm(
        &mut self,
        name: &str,
        input: ValueId,
        axes: usize,
        norm: Norm,
    ) -> Result<ValueId, GraphError> {
        let op = Op::LayerNorm { axes, norm };
        self.node(name, nn::LayerNorm::SPELLING, op, &[input])
    }
}
