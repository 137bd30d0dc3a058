//! A float network as files for other libraries: its weights and samples in safetensors, its nodes in
//! JSON. The operators fused for QNNPACK stay one node, their batch normalization folded.

use std::path::Path;

use anyhow::{Context as _, bail};
use qconfig::backends::QNNPACK;
use qconfig::kernel::{Activation, Unary};
use qconfig::quantize::{Graph, Node, Op, Pool, Tensor, fuse};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::nets;

/// Writes `NAME.json` and `NAME.safetensors` into a folder. Beside the weights (`NODE.weight`,
/// `NODE.bias`) there are the images to calibrate on (`calibration.N`), the image to measure with
/// (`input`) and what this library's float graph makes of it (`output`).
///
/// # Errors
/// Where the files cannot be written, or an operator has no description.
pub fn export(name: &str, graph: &Graph, folder: &Path) -> anyhow::Result<()> {
    let graph = fuse(graph, &QNNPACK);
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut nodes = Vec::new();
    for node in graph.nodes() {
        nodes.push(describe(&graph, node, &mut tensors)?);
    }
    for (n, image) in nets::calibration(&graph)?.into_iter().enumerate() {
        tensors.push((format!("calibration.{n}"), image));
    }
    let input = nets::test_image(&graph)?;
    let outputs = graph.run(std::slice::from_ref(&input))?;
    tensors.push(("input".into(), input));
    tensors.push((
        "output".into(),
        outputs.into_iter().next().context("one output")?,
    ));

    let value = |id: &_| json!({ "name": graph.value(*id).name, "shape": graph.value(*id).shape });
    let description = json!({
        "inputs": graph.inputs().iter().map(value).collect::<Vec<_>>(),
        "outputs": graph.outputs().iter().map(value).collect::<Vec<_>>(),
        "nodes": nodes,
    });
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec_pretty(&description)?)
        .with_context(|| path.display().to_string())?;
    write_tensors(&tensors, &folder.join(format!("{name}.safetensors")))
}

/// Writes float tensors as a safetensors file.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_tensors(tensors: &[(String, Tensor)], path: &Path) -> anyhow::Result<()> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, tensor)| tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let mut views = Vec::new();
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes)?;
        views.push((name.clone(), view));
    }
    safetensors::serialize_to_file(views, None, path).with_context(|| path.display().to_string())
}

fn describe(
    graph: &Graph,
    node: &Node,
    tensors: &mut Vec<(String, Tensor)>,
) -> anyhow::Result<Value> {
    let mut weigh = |weight: &Tensor, bias: Option<&[f32]>| -> anyhow::Result<()> {
        tensors.push((format!("{}.weight", node.name), weight.clone()));
        if let Some(bias) = bias {
            let bias = Tensor::new(vec![bias.len()], bias.to_vec())?;
            tensors.push((format!("{}.bias", node.name), bias));
        }
        Ok(())
    };
    let window = |pool: &Pool| {
        json!({
            "kernel": pool.kernel, "stride": pool.stride, "padding": pool.padding,
            "dilation": pool.dilation, "ceil_mode": pool.ceil_mode,
        })
    };
    let (op, attributes) = match &node.op {
        Op::Conv(conv) => {
            weigh(&conv.weight, conv.bias.as_deref())?;
            let attributes = json!({
                "kernel": &conv.weight.shape()[2..], "stride": conv.stride, "padding": conv.padding,
                "dilation": conv.dilation, "groups": conv.groups,
            });
            ("conv", attributes)
        }
        Op::Linear(linear) => {
            weigh(&linear.weight, linear.bias.as_deref())?;
            ("linear", json!({}))
        }
        Op::Relu => ("relu", json!({})),
        Op::Clamp { low, high } => ("clamp", json!({ "low": low, "high": high })),
        Op::Add => ("add", json!({})),
        Op::Mul => ("mul", json!({})),
        Op::Unary(Unary::Hardswish) => ("hardswish", json!({})),
        Op::Unary(Unary::Hardsigmoid) => ("hardsigmoid", json!({})),
        Op::MaxPool(pool) => ("max_pool", window(pool)),
        Op::GlobalAvgPool => ("global_avg_pool", json!({})),
        Op::Flatten { start } => ("flatten", json!({ "start": start })),
        other => bail!("node `{}`: {other:?} has no description", node.name),
    };
    let name = |id: &_| graph.value(*id).name.clone();
    Ok(json!({
        "name": node.name,
        "op": op,
        "attributes": attributes,
        "activation": match node.activation {
            Activation::None => Value::Null,
            Activation::Relu => json!({ "low": 0.0 }),
            Activation::Clamp { low, high } => json!({ "low": low, "high": high }),
        },
        "inputs": node.inputs.iter().map(name).collect::<Vec<_>>(),
        "output": name(&node.output),
    }))
}
