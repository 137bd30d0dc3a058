//! Pools and means.

use qconfig_core::operator::{nn, torch};
use qconfig_core::{Spelled, Spelling};

use super::GraphBuilder;
use crate::graph::{GraphError, Op, Pool, ValueId};

/// The spelling of one to three dimensions.
fn ranked(rank: usize, spellings: [&'static Spelling; 3]) -> &'static Spelling {
    spellings[rank.clamp(1, 3) - 1]
}

impl GraphBuilder {
    /// `torch.nn.MaxPool1d`, `MaxPool2d` or `MaxPool3d`, by the rank of the window.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn max_pool(
        &mut self,
        name: &str,
        input: ValueId,
        pool: Pool,
    ) -> Result<ValueId, GraphError> {
        let spellings = [
            nn::MaxPool1d::SPELLING,
            nn::MaxPool2d::SPELLING,
            nn::MaxPool3d::SPELLING,
        ];
        let spelling = ranked(pool.kernel.len(), spellings);
        self.node(name, spelling, Op::MaxPool(pool), &[input])
    }

    /// `torch.nn.AvgPool1d`, `AvgPool2d` or `AvgPool3d`, by the rank of the window.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn avg_pool(
        &mut self,
        name: &str,
        input: ValueId,
        pool: Pool,
        count_include_pad: bool,
    ) -> Result<ValueId, GraphError> {
        let spellings = [
            nn::AvgPool1d::SPELLING,
            nn::AvgPool2d::SPELLING,
            nn::AvgPool3d::SPELLING,
        ];
        let spelling = ranked(pool.kernel.len(), spellings);
        let op = Op::AvgPool {
            pool,
            count_include_pad,
            divisor_override: None,
        };
        self.node(name, spelling, op, &[input])
    }

    /// `torch.nn.AdaptiveAvgPool1d`, `AdaptiveAvgPool2d` or `AdaptiveAvgPool3d`, by the number of output
    /// sizes.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn adaptive_avg_pool(
        &mut self,
        name: &str,
        input: ValueId,
        sizes: &[usize],
    ) -> Result<ValueId, GraphError> {
        let spellings = [
            nn::AdaptiveAvgPool1d::SPELLING,
            nn::AdaptiveAvgPool2d::SPELLING,
            nn::AdaptiveAvgPool3d::SPELLING,
        ];
        let op = Op::AdaptiveAvgPool(sizes.to_vec());
        self.node(name, ranked(sizes.len(), spellings), op, &[input])
    }

    /// `torch.nn.AdaptiveAvgPool2d(1)`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn global_avg_pool(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(
            name,
            nn::AdaptiveAvgPool2d::SPELLING,
            Op::GlobalAvgPool,
            &[input],
        )
    }

    /// `torch.mean(x, axes, keepdim)`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn mean(
        &mut self,
        name: &str,
        input: ValueId,
        axes: &[usize],
        keepdim: bool,
    ) -> Result<ValueId, GraphError> {
        let axes = axes.to_vec();
        let op = Op::Mean { axes, keepdim };
        self.node(name, torch::mean::SPELLING, op, &[input])
    }
}
