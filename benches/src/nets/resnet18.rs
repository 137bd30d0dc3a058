//! ResNet18 (He et al., 2015), as torchvision builds it.

use anyhow::Context as _;
use qconfig::quantize::{Graph, ValueId};

use super::builder::{Net, RESIDUAL};

/// Channels of the four stages; each but the first halves the image.
const STAGES: [usize; 4] = [64, 128, 256, 512];

pub(super) fn graph(size: usize) -> anyhow::Result<Graph> {
    let (mut net, x) = Net::new(size, 18)?;
    let mut x = net.conv_bn("conv1", x, 64, (7, 2), 1, 1.0)?;
    x = net.relu("relu", x)?;
    x = net.max_pool("maxpool", x)?;
    for (stage, channels) in STAGES.into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            x = basic_block(&mut net, &name, x, channels, stride).with_context(|| name)?;
        }
    }
    x = net.pooled(x)?;
    x = net.linear("fc", x, 1000)?;
    net.finish(x)
}

fn basic_block(
    net: &mut Net,
    name: &str,
    input: ValueId,
    channels: usize,
    stride: usize,
) -> anyhow::Result<ValueId> {
    let mut x = net.conv_bn(
        &format!("{name}.conv1"),
        input,
        channels,
        (3, stride),
        1,
        1.0,
    )?;
    x = net.relu(&format!("{name}.relu1"), x)?;
    x = net.conv_bn(&format!("{name}.conv2"), x, channels, (3, 1), 1, RESIDUAL)?;
    let mut identity = input;
    if stride != 1 || net.channels(input)? != channels {
        let shortcut = format!("{name}.downsample");
        identity = net.conv_bn(&shortcut, input, channels, (1, stride), 1, 1.0)?;
    }
    x = net.add(&format!("{name}.add"), x, identity)?;
    net.relu(&format!("{name}.relu2"), x)
}
