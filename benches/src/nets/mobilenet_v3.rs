//! MobileNetV3-small (Howard et al., 2019), as torchvision builds it.

use anyhow::Context as _;
use qconfig::quantize::{Graph, ValueId};

use super::builder::{Net, RESIDUAL};

/// A row of the paper's table.
struct Block {
    kernel: usize,
    hidden: usize,
    channels: usize,
    /// Channels between squeeze and excitation, where there is one.
    squeezed: Option<usize>,
    hardswish: bool,
    stride: usize,
}

const fn block(
    (kernel, stride): (usize, usize),
    hidden: usize,
    channels: usize,
    squeezed: Option<usize>,
    hardswish: bool,
) -> Block {
    Block {
        kernel,
        hidden,
        channels,
        squeezed,
        hardswish,
        stride,
    }
}

const BLOCKS: [Block; 11] = [
    block((3, 2), 16, 16, Some(8), false),
    block((3, 2), 72, 24, None, false),
    block((3, 1), 88, 24, None, false),
    block((5, 2), 96, 40, Some(24), true),
    block((5, 1), 240, 40, Some(64), true),
    block((5, 1), 240, 40, Some(64), true),
    block((5, 1), 120, 48, Some(32), true),
    block((5, 1), 144, 48, Some(40), true),
    block((5, 2), 288, 96, Some(72), true),
    block((5, 1), 576, 96, Some(144), true),
    block((5, 1), 576, 96, Some(144), true),
];

pub(super) fn graph(size: usize) -> anyhow::Result<Graph> {
    let (mut net, x) = Net::new(size, 3)?;
    let mut x = net.conv_bn("features.0", x, 16, (3, 2), 1, 1.0)?;
    x = net.hardswish("features.0.2", x)?;
    for (at, block) in BLOCKS.iter().enumerate() {
        let name = format!("features.{}", at + 1);
        x = inverted_residual(&mut net, &name, x, block).with_context(|| name)?;
    }
    x = net.conv_bn("features.12", x, 576, (1, 1), 1, 1.0)?;
    x = net.hardswish("features.12.2", x)?;
    x = net.pooled(x)?;
    x = net.linear("classifier.0", x, 1024)?;
    x = net.hardswish("classifier.1", x)?;
    x = net.linear("classifier.3", x, 1000)?;
    net.finish(x)
}

fn inverted_residual(
    net: &mut Net,
    name: &str,
    input: ValueId,
    block: &Block,
) -> anyhow::Result<ValueId> {
    let from = net.channels(input)?;
    let activate = |net: &mut Net, name: String, x| match block.hardswish {
        true => net.hardswish(&name, x),
        false => net.relu(&name, x),
    };
    let mut x = input;
    if block.hidden != from {
        x = net.conv_bn(&format!("{name}.expand"), x, block.hidden, (1, 1), 1, 1.0)?;
        x = activate(net, format!("{name}.expand.2"), x)?;
    }
    let (depthwise, window) = (format!("{name}.depthwise"), (block.kernel, block.stride));
    x = net.conv_bn(&depthwise, x, block.hidden, window, block.hidden, 1.0)?;
    x = activate(net, format!("{depthwise}.2"), x)?;
    if let Some(squeezed) = block.squeezed {
        x = net.squeeze_excite(&format!("{name}.se"), x, squeezed)?;
    }
    let residual = block.stride == 1 && from == block.channels;
    let deviation = if residual { RESIDUAL } else { 1.0 };
    let project = format!("{name}.project");
    x = net.conv_bn(&project, x, block.channels, (1, 1), 1, deviation)?;
    if residual {
        x = net.add(&format!("{name}.add"), input, x)?;
    }
    Ok(x)
}
