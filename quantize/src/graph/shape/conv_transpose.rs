//! The shape of a transposed convolution.

use super::check_bias;
use crate::graph::{ConvTranspose, GraphProblem};

/// `[N, O, spatial..]` (`torch.nn.ConvTranspose2d`: "Shape").
pub(super) fn output_shape(
    conv: &ConvTranspose,
    shape: &[usize],
) -> Result<Vec<usize>, GraphProblem> {
    let misfit = |what: String| GraphProblem::Shape {
        what,
        shape: shape.to_vec(),
    };
    let parameter = |what: &str| Err(GraphProblem::Parameter(what.into()));
    let [i, o, kernel @ ..] = conv.weight.shape() else {
        return parameter("the weight must be [I, O / groups, k..]");
    };
    let (1..=3, true) = (kernel.len(), shape.len() == kernel.len() + 2) else {
        return Err(misfit(
            "a transposed convolution takes [N, C, spatial..] of the weight's rank, one to three dimensions"
                .into(),
        ));
    };
    if conv.groups == 0 || *i != shape[1] || !i.is_multiple_of(conv.groups) {
        return Err(misfit(format!(
            "the weight {:?} with {} groups takes other channels",
            conv.weight.shape(),
            conv.groups
        )));
    }
    let too_large = || GraphProblem::Parameter("the output is too large".into());
    let outputs = o.checked_mul(conv.groups).ok_or_else(too_large)?;
    check_bias(conv.bias.as_deref(), outputs)?;
    let numbers = [
        &conv.stride,
        &conv.padding,
        &conv.output_padding,
        &conv.dilation,
    ];
    if numbers.iter().any(|list| list.len() != kernel.len()) {
        return parameter(
            "kernel, stride, padding, output padding and dilation need a number for each dimension",
        );
    }
    let mut output = vec![shape[0], outputs];
    for (d, size) in shape[2..].iter().enumerate() {
        let [stride, padding, more, dilation] = numbers.map(|list| list[d]);
        if kernel[d] == 0 || stride == 0 || dilation == 0 {
            return parameter("kernel, stride and dilation must not be 0");
        }
        if more >= stride.max(dilation) {
            return parameter("the output padding must be below stride or dilation");
        }
        let span = dilation.checked_mul(kernel[d] - 1);
        let end = stride
            .checked_mul(size - 1)
            .zip(span)
            .and_then(|(steps, span)| steps.checked_add(span)?.checked_add(more + 1))
            .ok_or_else(too_large)?;
        match padding
            .checked_mul(2)
            .and_then(|both| end.checked_sub(both))
        {
            Some(size @ 1..) => output.push(size),
            _ => return Err(misfit(format!("a padding of {padding} leaves no output"))),
        }
    }
    Ok(output)
}
