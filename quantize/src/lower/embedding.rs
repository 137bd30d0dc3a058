//! Tables of rows: integers in, floats out.

use qconfig_core::DType;
use qconfig_core::kernel::{NodeOp, WeightData, WeightSpec};
use qconfig_runtime::StepInfo;

use super::form::{Layout, Stored};
use super::way::Way;
use super::{LowerError, Lowering};
use crate::graph::{Embedding, Node, NodeId};

impl Lowering<'_> {
    pub(super) fn embedding(
        &mut self,
        at: NodeId,
        node: &Node,
        table: &Embedding,
        way: Way<'_>,
    ) -> Result<(), LowerError> {
        let op = node_op(table);
        let kernel = self.kernel(node, way, &op)?;
        let mut inputs = Vec::new();
        for id in &node.inputs {
            let dtype = self.model.graph.values[id.0].dtype;
            inputs.push(self.form(*id, dtype, None, Layout::Logical)?);
        }
        let shape = self.shape(node.output, Layout::Logical);
        let output = self.tensor(&node.name, DType::float32, None, &shape)?;
        // without rows in integers the kernel quantizes the floats
        let rows = self.model.tables.get(&at);
        let weight = WeightSpec {
            dtype: way.float_weight(),
            shape: table.weight.shape(),
            data: match rows {
                Some(rows) => WeightData::U8(&rows.data),
                None => WeightData::F32(table.weight.data()),
            },
            scales: rows.map_or(&[], |rows| &rows.scales),
            zero_points: &[],
        };
        let zero_points = rows.map(|rows| WeightSpec::float(&rows.zero_points));
        self.builder.step(StepInfo {
            pattern: &way.pattern(node),
            dtype_config: way.dtype_config(),
            weight: Some(weight),
            parameters: zero_points.as_slice(),
            ..StepInfo::new(&node.name, kernel, op, &inputs, output)
        })?;
        self.keep(
            node.output,
            Stored {
                tensor: output,
                dtype: DType::float32,
                qparams: None,
                layout: Layout::Logical,
            },
        );
        Ok(())
    }
}

pub(super) fn node_op(table: &Embedding) -> NodeOp {
    match table.bag {
        None => NodeOp::Embedding,
        Some(bag) => NodeOp::EmbeddingBag {
            mode: bag.mode,
            include_last_offset: bag.include_last_offset,
            padding_idx: bag.padding_idx,
        },
    }
}
