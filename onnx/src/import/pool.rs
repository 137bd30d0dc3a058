//! Pooling and means.

use qconfig_quantize::{Pool, ValueId};

use super::conv::{shortest, window};
use super::{Importer, Place, Refusal, unsupported};

impl Importer<'_> {
    pub(super) fn pool(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let shape = self.shape_of(at, 0)?;
        let kernel = attributes.sizes("kernel_shape", &[])?;
        let Some(input) = shape.get(2..).filter(|input| input.len() == kernel.len()) else {
            return unsupported(format!("a window {kernel:?} over {shape:?}"));
        };
        if at.node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
            return unsupported("indices as a second output");
        }
        if attributes.int("storage_order", 0)? != 0 {
            return Err(attributes.unsupported("storage_order").into());
        }
        let window = window(attributes, &kernel, input)?;
        let pool = Pool {
            stride: window.stride,
            padding: shortest(window.pads),
            dilation: window.dilation,
            ceil_mode: attributes.flag("ceil_mode", false)?,
            ..Pool::new(&window.kernel)
        };
        let count_include_pad = attributes.flag("count_include_pad", false)?;
        let id = self.value(at, 0)?;
        let name = &at.node.name;
        if at.node.op_type == "MaxPool" {
            Ok(self.builder.max_pool(name, id, pool)?)
        } else {
            Ok(self.builder.avg_pool(name, id, pool, count_include_pad)?)
        }
    }

    pub(super) fn global_average_pool(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let input = self.value(at, 0)?;
        Ok(self.builder.global_avg_pool(&at.node.name, input)?)
    }
}
