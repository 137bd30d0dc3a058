"""Networks as ONNX: float as exported, then static QDQ int8 by onnxruntime's own quantizer."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from safetensors.numpy import load_file

OPSET = 17


def network(folder: Path, name: str) -> onnx.ModelProto:
    """The float network that qconfig-peer exported."""
    graph = json.loads((folder / f"{name}.json").read_text())
    weights = load_file(folder / f"{name}.safetensors")
    nodes, constants = [], []

    def constant(key: str) -> str:
        constants.append(numpy_helper.from_array(weights[key], key))
        return key

    def scalar(key: str, value: float) -> str:
        constants.append(numpy_helper.from_array(np.float32(value), key))
        return key

    for node in graph["nodes"]:
        at, inputs, output = node["attributes"], list(node["inputs"]), node["output"]
        made = output if node["activation"] is None else f"{output}:plain"
        weigh = lambda: [constant(f"{node['name']}.weight"), constant(f"{node['name']}.bias")]
        match node["op"]:
            case "conv":
                attributes = {
                    "kernel_shape": at["kernel"],
                    "strides": at["stride"],
                    "pads": at["padding"] * 2,
                    "dilations": at["dilation"],
                    "group": at["groups"],
                }
                nodes.append(helper.make_node("Conv", inputs + weigh(), [made], node["name"], **attributes))
            case "linear":
                nodes.append(helper.make_node("Gemm", inputs + weigh(), [made], node["name"], transB=1))
            case "relu":
                nodes.append(helper.make_node("Relu", inputs, [made], node["name"]))
            case "clamp":
                bounds = [scalar(f"{output}:{side}", at[side]) for side in ("low", "high")]
                nodes.append(helper.make_node("Clip", inputs + bounds, [made], node["name"]))
            case "add":
                nodes.append(helper.make_node("Add", inputs, [made], node["name"]))
            case "mul":
                nodes.append(helper.make_node("Mul", inputs, [made], node["name"]))
            case "hardswish":
                nodes.append(helper.make_node("HardSwish", inputs, [made], node["name"]))
            case "hardsigmoid":
                attributes = {"alpha": 1 / 6, "beta": 0.5}
                nodes.append(helper.make_node("HardSigmoid", inputs, [made], node["name"], **attributes))
            case "max_pool":
                attributes = {
                    "kernel_shape": at["kernel"],
                    "strides": at["stride"],
                    "pads": at["padding"] * 2,
                }
                nodes.append(helper.make_node("MaxPool", inputs, [made], node["name"], **attributes))
            case "global_avg_pool":
                nodes.append(helper.make_node("GlobalAveragePool", inputs, [made], node["name"]))
            case "flatten":
                nodes.append(helper.make_node("Flatten", inputs, [made], node["name"], axis=at["start"]))
            case other:
                raise ValueError(f"no ONNX form of {other}")
        if (activation := node["activation"]) is not None:
            if "high" in activation:
                bounds = [scalar(f"{output}:{side}", activation[side]) for side in ("low", "high")]
                nodes.append(helper.make_node("Clip", [made, *bounds], [output]))
            else:
                nodes.append(helper.make_node("Relu", [made], [output]))

    value = lambda v: helper.make_tensor_value_info(v["name"], TensorProto.FLOAT, v["shape"])
    return model(
        nodes,
        [value(v) for v in graph["inputs"]],
        [value(v) for v in graph["outputs"]],
        constants,
    )


def model(nodes, inputs, outputs, constants, opset=OPSET) -> onnx.ModelProto:
    """A checked model."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    onnx.checker.check_model(made)
    return made


class Samples(CalibrationDataReader):
    """Feeds given inputs to the calibrator."""

    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def quantized(float_path: Path, path: Path, feeds, reduce_range: bool) -> None:
    """Static QDQ: quint8 activations, qint8 weights, one scale a channel, ranges by minimum and
    maximum, as qconfig's. `reduce_range` keeps weights in 7 bits: without VNNI both onnxruntime and
    OpenVINO multiply by `vpmaddubsw`, which saturates with 8."""
    quantize_static(
        float_path,
        path,
        Samples(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def make_layer(folder: Path, name: str, kind: str, qparams: list[dict], reduce_range: bool) -> None:
    """`NAME.onnx`: a layer between quint8 tensors, or between floats where activations are quantized
    while it runs."""
    tensors = load_file(folder / f"{name}.safetensors")
    inputs = [tensors[key] for key in sorted(tensors) if key.startswith("input.")]
    path = folder / f"{name}.onnx"
    if kind == "dynamic":
        floats = folder / f"{name}.float.onnx"
        nodes = [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["y"]),
        ]
        constants = [
            numpy_helper.from_array(np.ascontiguousarray(tensors["weight"].T), "weight"),
            numpy_helper.from_array(tensors["bias"], "bias"),
        ]
        value = lambda name, of: helper.make_tensor_value_info(name, TensorProto.FLOAT, of.shape)
        ends = [value("x", inputs[0])], [value("y", tensors["output"])]
        onnx.save(model(nodes, *ends, constants), floats)
        quantize_dynamic(floats, path, per_channel=True, reduce_range=reduce_range)
        return

    if kind == "lstm":
        # ONNX orders the gates input, output, forget, cell; torch input, forget, cell, output
        hidden = tensors["w_hh"].shape[1]
        order = [0, 3, 1, 2]
        swap = lambda value: np.concatenate([value[at * hidden : (at + 1) * hidden] for at in order])
        biases = np.concatenate([swap(tensors["b_ih"]), swap(tensors["b_hh"])])
        constants = [
            numpy_helper.from_array(swap(tensors["w_ih"])[None], "w"),
            numpy_helper.from_array(swap(tensors["w_hh"])[None], "r"),
            numpy_helper.from_array(biases[None], "b"),
        ]
        nodes = [
            helper.make_node("LSTM", ["x", "w", "r", "b"], ["directions"], hidden_size=hidden),
            helper.make_node("Squeeze", ["directions", "axes"], ["y"]),
        ]
        constants.append(numpy_helper.from_array(np.array([1]), "axes"))
        value = lambda name, of: helper.make_tensor_value_info(name, TensorProto.FLOAT, of.shape)
        ends = [value("x", inputs[0])], [value("y", tensors["output"])]
        floats = folder / f"{name}.float.onnx"
        onnx.save(model(nodes, *ends, constants), floats)
        quantize_dynamic(floats, path, reduce_range=reduce_range)
        return

    nodes, constants = [], []

    def constant(key: str, value) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), key))
        return key

    def qparam(at: int) -> list[str]:
        q = qparams[at]
        return [
            constant(f"scale.{at}", np.float32(q["scale"])),
            constant(f"zero.{at}", np.uint8(q["zero_point"])),
        ]

    reals = []
    for at in range(len(inputs)):
        nodes.append(helper.make_node("DequantizeLinear", [f"x.{at}", *qparam(at)], [f"real.{at}"]))
        reals.append(f"real.{at}")
    match kind:
        case "linear":
            weight = tensors["weight"]
            scales = np.abs(weight).max(1) / (63 if reduce_range else 127)
            quantized = np.rint(weight / scales[:, None]).astype(np.int8).T
            biases = scales * np.float32(qparams[0]["scale"])
            rows = [
                constant("weight", np.ascontiguousarray(quantized)),
                constant("weight.scale", scales),
                constant("weight.zero", np.zeros(len(scales), np.int8)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", rows, ["weight.real"], axis=1))
            rows = [
                constant("bias", np.rint(tensors["bias"] / biases).astype(np.int32)),
                constant("bias.scale", biases),
                constant("bias.zero", np.zeros(len(scales), np.int32)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", rows, ["bias.real"], axis=0))
            nodes.append(helper.make_node("Gemm", [*reals, "weight.real", "bias.real"], ["plain"]))
        case "add":
            nodes.append(helper.make_node("Add", reals, ["plain"]))
        case "sigmoid":
            nodes.append(helper.make_node("Sigmoid", reals, ["plain"]))
        case "hardswish":
            nodes.append(helper.make_node("HardSwish", reals, ["plain"]))
        case other:
            raise ValueError(f"no ONNX form of {other}")
    nodes.append(helper.make_node("QuantizeLinear", ["plain", *qparam(len(inputs))], ["y"]))
    value = lambda name, of: helper.make_tensor_value_info(name, TensorProto.UINT8, of.shape)
    ends = [value(f"x.{at}", x) for at, x in enumerate(inputs)], [value("y", tensors["output"])]
    onnx.save(model(nodes, *ends, constants), path)


def make_network(folder: Path, name: str, reduce_range: bool) -> None:
    """`NAME.onnx` and `NAME.int8.onnx` beside what was exported."""
    weights = load_file(folder / f"{name}.safetensors")
    float_path, path = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    made = network(folder, name)
    onnx.save(made, float_path)
    feed = made.graph.input[0].name
    samples = [{feed: weights[key]} for key in sorted(weights) if key.startswith("calibration.")]
    quantized(float_path, path, samples, reduce_range)
