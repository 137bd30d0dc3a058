//! MobileNetV2, width 1.0 (Sandler et al., 2018), as torchvision builds it.

use anyhow::Context as _;
use qconfig::quantize::{Graph, ValueId};

use super::builder::{Net, RESIDUAL};

/// Expansion, output channels, blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) fn graph(size: usize) -> anyhow::Result<Graph> {
    let (mut net, x) = Net::new(size, 2)?;
    let mut x = net.conv_bn("features.0", x, 32, (3, 2), 1, 1.0)?;
    x = net.relu6("features.0.2", x)?;
    let mut block = 1;
    for (expansion, channels, blocks, stride) in STAGES {
        for at in 0..blocks {
            let stride = if at == 0 { stride } else { 1 };
            let name = format!("features.{block}");
            x = inverted_residual(&mut net, &name, x, channels, (expansion, stride))
                .with_context(|| name)?;
            block += 1;
        }
    }
    x = net.conv_bn("features.18", x, 1280, (1, 1), 1, 1.0)?;
    x = net.relu6("features.18.2", x)?;
    x = net.pooled(x)?;
    x = net.linear("classifier.1", x, 1000)?;
    net.finish(x)
}

fn inverted_residual(
    net: &mut Net,
    name: &str,
    input: ValueId,
    channels: usize,
    (expansion, stride): (usize, usize),
) -> anyhow::Result<ValueId> {
    let from = net.channels(input)?;
    let hidden = from * expansion;
    let mut x = input;
    if expansion > 1 {
        x = net.conv_bn(&format!("{name}.expand"), x, hidden, (1, 1), 1, 1.0)?;
        x = net.relu6(&format!("{name}.expand.2"), x)?;
    }
    x = net.conv_bn(
        &format!("{name}.depthwise"),
        x,
        hidden,
        (3, stride),
        hidden,
        1.0,
    )?;
    x = net.relu6(&format!("{name}.depthwise.2"), x)?;
    let residual = stride == 1 && from == channels;
    let deviation = if residual { RESIDUAL } else { 1.0 };
    x = net.conv_bn(
        &format!("{name}.project"),
        x,
        channels,
        (1, 1),
        1,
        deviation,
    )?;
    if residual {
        x = net.add(&format!("{name}.add"), input, x)?;
    }
    Ok(x)
}
