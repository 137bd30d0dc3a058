//! Recurrent layers: one step that writes all outputs behind each other, each of them a part of that.

use qconfig_core::DType;
use qconfig_core::kernel::{WeightData, WeightSpec};
use qconfig_runtime::StepInfo;

use super::form::{Layout, Stored};
use super::way::Way;
use super::{LowerError, Lowering, op};
use crate::convert::QuantizedWeight;
use crate::graph::{Node, NodeId, Recurrent};
use crate::tensor::Tensor;

impl Lowering<'_> {
    pub(super) fn recurrent(
        &mut self,
        at: NodeId,
        node: &Node,
        recurrent: &Recurrent,
        way: Way<'_>,
    ) -> Result<(), LowerError> {
        let op = op::node_op(&node.op, &[], Layout::Logical);
        let kernel = self.kernel(node, way, &op)?;
        let mut inputs = Vec::new();
        for id in &node.inputs {
            inputs.push(self.form(*id, DType::float32, None, Layout::Logical)?);
        }
        let mut parameters = Vec::new();
        for (index, gates) in recurrent.gates.iter().enumerate() {
            for (which, weight) in [&gates.weight_ih, &gates.weight_hh].into_iter().enumerate() {
                let rounded = self.model.weights.get(&(at, 2 * index + which));
                parameters
                    .push(rounded.map_or_else(|| floats(weight, way.float_weight()), integers));
            }
            parameters.extend(
                gates
                    .bias
                    .iter()
                    .flatten()
                    .map(|bias| WeightSpec::float(bias)),
            );
        }
        let shapes: Vec<(_, Vec<usize>)> = node
            .outputs()
            .map(|id| (id, self.shape(id, Layout::Logical)))
            .collect();
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let all = shapes.iter().map(|(_, shape)| elements(shape)).sum();
        let name = format!("{}:all", node.name);
        let whole = self.tensor(&name, DType::float32, None, &[all])?;
        self.builder.step(StepInfo {
            pattern: &way.pattern(node),
            dtype_config: way.dtype_config(),
            parameters: &parameters,
            reduce_range: way.reduce_range(),
            ..StepInfo::new(&node.name, kernel, op, &inputs, whole)
        })?;
        let mut offset = 0;
        for (id, shape) in shapes {
            let name = self.model.graph.values[id.0].name.clone();
            let part = self.tensor(&name, DType::float32, None, &shape)?;
            self.builder.view(whole, offset, part)?;
            offset += 4 * elements(&shape);
            self.keep(
                id,
                Stored {
                    tensor: part,
                    dtype: DType::float32,
                    qparams: None,
                    layout: Layout::Logical,
                },
            );
        }
        Ok(())
    }
}

/// A weight in eight bits.
fn integers(weight: &QuantizedWeight) -> WeightSpec<'_> {
    WeightSpec {
        dtype: DType::qint8,
        shape: &weight.shape,
        data: WeightData::I8(&weight.data),
        scales: &weight.qparams.scales,
        zero_points: &weight.qparams.zero_points,
    }
}

/// A weight that the kernel takes as it is, or rounds to `dtype`.
fn floats(weight: &Tensor, dtype: DType) -> WeightSpec<'_> {
    WeightSpec {
        dtype,
        shape: weight.shape(),
        data: WeightData::F32(weight.data()),
        scales: &[],
        zero_points: &[],
    }
}
