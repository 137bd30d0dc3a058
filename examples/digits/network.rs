//! The network: three convolutions, two linear layers, trained weights.

use std::error::Error;

use qconfig::quantize::{Conv, Graph, GraphBuilder, Pool, Weights};

const WEIGHTS: &[u8] = include_bytes!("../data/mnist_cnn.safetensors");

/// The float graph with its trained weights; names are those of the state dict.
pub(crate) fn digits_cnn() -> Result<Graph, Box<dyn Error>> {
    let weights = Weights::from_bytes(WEIGHTS)?;
    let mut graph = GraphBuilder::new();
    let mut x = graph.input("image", &[1, 1, 28, 28])?;
    for layer in [0, 3, 6] {
        let name = format!("conv_layers.{layer}");
        let conv = Conv::new(weights.get(&format!("{name}.weight"))?)
            .bias(weights.get(&format!("{name}.bias"))?);
        x = graph.conv(&name, x, conv.padding(1))?;
        x = graph.relu(&format!("conv_layers.{}", layer + 1), x)?;
        x = graph.max_pool(&format!("conv_layers.{}", layer + 2), x, Pool::square(2))?;
    }
    x = graph.flatten("flatten", x)?;
    for layer in [0, 2] {
        let name = format!("fc_layers.{layer}");
        let bias = weights.get(&format!("{name}.bias"))?;
        x = graph.linear(
            &name,
            x,
            weights.get(&format!("{name}.weight"))?,
            Some(bias),
        )?;
        if layer == 0 {
            x = graph.relu("fc_layers.1", x)?;
        }
    }
    Ok(graph.finish(&[x])?)
}
