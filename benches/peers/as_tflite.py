"""Networks and layers as .tflite: TensorFlow functions, converted to int8 by its own converter.

Strided windows are padded as TensorFlow does (`SAME`), which is as much work as torch's padding and
needs no operator of its own; so each model is checked against its own float function.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file


def clip(x, activation):
    if activation is None:
        return x
    low, high = activation.get("low", 0.0), activation.get("high")
    if high is None:
        return tf.nn.relu(x)
    return tf.nn.relu6(x) if (low, high) == (0.0, 6.0) else tf.clip_by_value(x, low, high)


def network(graph: dict, weights: dict):
    """A function of one NHWC image."""

    def call(image):
        values = {graph["inputs"][0]["name"]: image}
        for node in graph["nodes"]:
            at, inputs = node["attributes"], [values[name] for name in node["inputs"]]
            x = inputs[0]
            weigh = lambda: (weights[f"{node['name']}.weight"], weights[f"{node['name']}.bias"])
            match node["op"]:
                case "conv":
                    weight, bias = weigh()
                    assert at["padding"] == [k // 2 for k in at["kernel"]]
                    if at["groups"] == 1:
                        kernel = weight.transpose(2, 3, 1, 0)
                        y = tf.nn.conv2d(x, kernel, at["stride"], "SAME")
                    else:
                        kernel = weight.transpose(2, 3, 0, 1)
                        y = tf.nn.depthwise_conv2d(x, kernel, [1, *at["stride"], 1], "SAME")
                    y = tf.nn.bias_add(y, bias)
                case "linear":
                    weight, bias = weigh()
                    y = tf.nn.bias_add(tf.matmul(x, weight, transpose_b=True), bias)
                case "relu":
                    y = tf.nn.relu(x)
                case "clamp":
                    y = clip(x, at)
                case "add":
                    y = tf.add(*inputs)
                case "mul":
                    y = tf.multiply(*inputs)
                case "hardsigmoid":
                    y = tf.nn.relu6(x + 3.0) * (1 / 6)
                case "hardswish":
                    y = x * tf.nn.relu6(x + 3.0) * (1 / 6)
                case "max_pool":
                    y = tf.nn.max_pool2d(x, at["kernel"], at["stride"], "SAME")
                case "global_avg_pool":
                    y = tf.reduce_mean(x, [1, 2], keepdims=True)
                case "flatten":
                    y = tf.reshape(x, [x.shape[0], -1])
                case other:
                    raise ValueError(f"no TensorFlow form of {other}")
            values[node["output"]] = clip(y, node["activation"])
        return values[graph["outputs"][0]["name"]]

    return call


def convert(call, shapes, samples, path: Path, edge) -> None:
    """Full integer quantization; `edge` is the type of inputs and outputs."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    function = tf.function(call, specs, autograph=False)
    module = tf.Module()
    module.call = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = edge
    path.write_bytes(converter.convert())


def make_network(folder: Path, name: str) -> np.ndarray:
    """`NAME.tflite`; the float function's answer."""
    weights = load_file(folder / f"{name}.safetensors")
    call = network(json.loads((folder / f"{name}.json").read_text()), weights)
    last = lambda value: np.ascontiguousarray(value.transpose(0, 2, 3, 1))
    image = last(weights["input"])
    samples = [[last(weights[key])] for key in sorted(weights) if key.startswith("calibration.")]
    convert(call, [image.shape], samples, folder / f"{name}.tflite", tf.float32)
    return call(tf.constant(image)).numpy()


def make_layer(folder: Path, name: str, kind: str) -> None:
    """`NAME.tflite` between int8 tensors."""
    tensors = load_file(folder / f"{name}.safetensors")
    inputs = [tensors[key] for key in sorted(tensors) if key.startswith("input.")]
    match kind:
        case "linear":
            call = lambda x: tf.nn.bias_add(
                tf.matmul(x, tensors["weight"], transpose_b=True), tensors["bias"]
            )
        case "add":
            call = tf.add
        case "sigmoid":
            call = tf.sigmoid
        case "hardswish":
            call = lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6)
        case other:
            raise ValueError(f"no TensorFlow form of {other}")
    convert(call, [x.shape for x in inputs], [inputs], folder / f"{name}.tflite", tf.int8)
