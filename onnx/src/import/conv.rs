//! Convolutions.

use qconfig_quantize::{Conv, ConvTranspose, ValueId};

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::attributes::Attributes;
use crate::eval::{Problem, same_padding};

/// The window of a node: sizes for each spatial dimension.
pub(super) struct Window {
    pub(super) kernel: Vec<usize>,
    pub(super) stride: Vec<usize>,
    pub(super) dilation: Vec<usize>,
    /// In front of each dimension, then behind each.
    pub(super) pads: Vec<usize>,
}

/// Reads a window; `input` has the spatial sizes it slides over.
pub(super) fn window(
    attributes: &Attributes,
    kernel: &[usize],
    input: &[usize],
) -> Result<Window, Refusal> {
    let rank = kernel.len();
    let ones = vec![1; rank];
    let stride = attributes.sizes("strides", &ones)?;
    let dilation = attributes.sizes("dilations", &ones)?;
    if [stride.len(), dilation.len(), input.len()] != [rank; 3] || stride.contains(&0) {
        let what = "strides and dilations need a number for each dimension";
        return Err(Problem::Input(what.into()).into());
    }
    let pads = match attributes.string("auto_pad", "NOTSET")? {
        "NOTSET" => attributes.sizes("pads", &vec![0; 2 * rank])?,
        "VALID" => vec![0; 2 * rank],
        kind @ ("SAME_UPPER" | "SAME_LOWER") => {
            let mut pads = vec![0; 2 * rank];
            for d in 0..rank {
                let reach = (kernel[d].saturating_sub(1)).saturating_mul(dilation[d]) + 1;
                let upper = kind == "SAME_UPPER";
                [pads[d], pads[rank + d]] = same_padding(input[d], stride[d], reach, upper);
            }
            pads
        }
        _ => return Err(attributes.unsupported("auto_pad").into()),
    };
    if pads.len() != 2 * rank {
        return unsupported(format!(
            "a padding of {} numbers for {rank} dimensions",
            pads.len()
        ));
    }
    Ok(Window {
        kernel: kernel.to_vec(),
        stride,
        dilation,
        pads,
    })
}

/// One number for both sides of each dimension where they are the same.
pub(super) fn shortest(pads: Vec<usize>) -> Vec<usize> {
    let (front, behind) = pads.split_at(pads.len() / 2);
    if front == behind {
        front.to_vec()
    } else {
        pads
    }
}

/// Channel groups; 0, which no convolution has, for a negative number.
fn groups(attributes: &Attributes) -> Result<usize, Refusal> {
    Ok(usize::try_from(attributes.int("group", 1)?).unwrap_or(0))
}

impl Importer<'_> {
    /// An input, with the zeros around it that a window can take as its padding.
    pub(super) fn padded(
        &mut self,
        at: Place<'_>,
        input: usize,
    ) -> Result<(ValueId, Option<Vec<usize>>), Refusal> {
        let name = at.node.inputs.get(input).ok_or(Problem::Missing(input))?;
        match self.bound.get(name) {
            Some(Bound::Padded(id, pads)) if pads.iter().take(2).all(|pad| *pad == [0, 0]) => {
                let spatial = pads.get(2..).unwrap_or_default();
                let front = spatial.iter().map(|[front, _]| *front);
                let behind = spatial.iter().map(|[_, behind]| *behind);
                Ok((*id, Some(front.chain(behind).collect())))
            }
            _ => Ok((self.value(at, input)?, None)),
        }
    }

    pub(super) fn conv(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let weight = self.weight(at, 1)?;
        let bias = self.optional_weight(at, 2)?;
        let (Some(kernel), Some(input)) = (weight.shape().get(2..), shape.get(2..)) else {
            return unsupported("a convolution without spatial dimensions");
        };
        let mut window = window(at.attributes(), kernel, input)?;
        let (id, around) = self.padded(at, 0)?;
        if let Some(around) = around {
            window
                .pads
                .iter_mut()
                .zip(around)
                .for_each(|(pad, more)| *pad += more);
        }
        let conv = Conv {
            bias: bias.map(|bias| bias.data().to_vec()),
            stride: window.stride,
            padding: shortest(window.pads),
            dilation: window.dilation,
            groups: groups(at.attributes())?,
            ..Conv::new(weight)
        };
        Ok(self.builder.conv(&at.node.name, id, conv)?)
    }

    pub(super) fn conv_transpose(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let weight = self.weight(at, 1)?;
        let bias = self.optional_weight(at, 2)?;
        let (Some(kernel), Some(input)) = (weight.shape().get(2..), shape.get(2..)) else {
            return unsupported("a convolution without spatial dimensions");
        };
        let attributes = at.attributes();
        if attributes.string("auto_pad", "NOTSET")? != "NOTSET" {
            return Err(attributes.unsupported("auto_pad").into());
        }
        if attributes.opt_ints("output_shape")?.is_some() {
            return Err(attributes.unsupported("output_shape").into());
        }
        let window = window(attributes, kernel, input)?;
        let padding = shortest(window.pads);
        if padding.len() != kernel.len() {
            return unsupported("a transposed convolution with another padding on each side");
        }
        let conv = ConvTranspose {
            bias: bias.map(|bias| bias.data().to_vec()),
            stride: window.stride,
            padding,
            output_padding: attributes.sizes("output_padding", &vec![0; kernel.len()])?,
            dilation: window.dilation,
            groups: groups(attributes)?,
            ..ConvTranspose::new(weight)
        };
        let id = self.value(at, 0)?;
        Ok(self.builder.conv_transpose(&at.node.name, id, conv)?)
    }
}
