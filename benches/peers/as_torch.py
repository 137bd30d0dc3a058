"""Networks and layers in torch: quantized by `torch.ao.quantization`, or the quantized operator itself."""

import itertools
import json

import torch
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    """The float network that qconfig-peer exported."""

    def __init__(self, graph: dict, weights: dict):
        super().__init__()
        self.graph = graph
        layers = {}
        for node in graph["nodes"]:
            at, name = node["attributes"], node["name"]
            weigh = lambda: (weights[f"{name}.weight"], weights[f"{name}.bias"])
            match node["op"]:
                case "conv":
                    weight, bias = weigh()
                    layer = nn.Conv2d(
                        weight.shape[1] * at["groups"],
                        weight.shape[0],
                        at["kernel"],
                        at["stride"],
                        at["padding"],
                        at["dilation"],
                        at["groups"],
                    )
                    layer.weight.data, layer.bias.data = weight, bias
                case "linear":
                    weight, bias = weigh()
                    layer = nn.Linear(weight.shape[1], weight.shape[0])
                    layer.weight.data, layer.bias.data = weight, bias
                case "relu":
                    layer = nn.ReLU()
                case "clamp":
                    layer = nn.ReLU6() if at == {"low": 0, "high": 6} else nn.Hardtanh(at["low"], at["high"])
                case "hardswish":
                    layer = nn.Hardswish()
                case "hardsigmoid":
                    layer = nn.Hardsigmoid()
                case "max_pool":
                    layer = nn.MaxPool2d(at["kernel"], at["stride"], at["padding"])
                case "global_avg_pool":
                    layer = nn.AdaptiveAvgPool2d(1)
                case _:
                    continue
            layers[name.replace(".", "_")] = layer
            if node["activation"] is not None:
                layers[name.replace(".", "_") + "_act"] = nn.ReLU()
        self.layers = nn.ModuleDict(layers)

    def forward(self, image):
        values = {self.graph["inputs"][0]["name"]: image}
        for node in self.graph["nodes"]:
            inputs = [values[name] for name in node["inputs"]]
            key = node["name"].replace(".", "_")
            match node["op"]:
                case "add":
                    value = torch.add(*inputs)
                case "mul":
                    value = torch.mul(*inputs)
                case "flatten":
                    value = torch.flatten(inputs[0], node["attributes"]["start"])
                case _:
                    value = self.layers[key](*inputs)
            if f"{key}_act" in self.layers and node["activation"] is not None:
                value = self.layers[f"{key}_act"](value)
            values[node["output"]] = value
        return values[self.graph["outputs"][0]["name"]]


def network(path: str, name: str, engine: str):
    """The quantized network, traced and frozen."""
    from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver, QConfig
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    weights = load_file(f"{path}/{name}.safetensors")
    model = Network(json.load(open(f"{path}/{name}.json")), weights).eval()
    qconfig = QConfig(
        activation=MinMaxObserver.with_args(dtype=torch.quint8, reduce_range=engine == "x86"),
        weight=PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric
        ),
    )
    mapping = get_default_qconfig_mapping(engine).set_global(qconfig)
    image = weights["input"]
    prepared = prepare_fx(model, mapping, (image,))
    with torch.no_grad():
        for key in sorted(weights):
            if key.startswith("calibration."):
                prepared(weights[key])
        return torch.jit.freeze(torch.jit.trace(convert_fx(prepared).eval(), image))


def per_channel(weight):
    """Symmetric, one scale a row."""
    scales = weight.abs().amax(1) / 127
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    return torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)


def load(work: dict, engine: str, inputs):
    """A call without arguments that computes the work."""
    path, name, kind = work["folder"], work["name"], work["kind"]
    if kind == "network":
        model, image = network(path, name, engine), torch.from_numpy(inputs[0])
        return lambda: model(image)
    ops = torch.ops.quantized
    weights = load_file(f"{path}/{name}.safetensors")
    qparams = [(q["scale"], q["zero_point"]) for q in work["qparams"]]
    tensors = [torch.from_numpy(value) for value in inputs]
    if kind in ("linear", "add", "sigmoid", "hardswish"):
        made = zip(tensors, qparams)
        tensors = [torch._make_per_tensor_quantized_tensor(t, *q) for t, q in made]
    match kind:
        case "linear":
            packed = ops.linear_prepack(per_channel(weights["weight"]), weights["bias"])
            return lambda: ops.linear(tensors[0], packed, *qparams[-1])
        case "add":
            return lambda: ops.add(tensors[0], tensors[1], *qparams[-1])
        case "sigmoid":
            return lambda: ops.sigmoid(tensors[0], *qparams[-1])
        case "hardswish":
            return lambda: ops.hardswish(tensors[0], *qparams[-1])
        case "dynamic":
            packed = ops.linear_prepack(per_channel(weights["weight"]), weights["bias"])
            return lambda: ops.linear_dynamic(tensors[0], packed, True)
        case "lstm":
            w = [weights[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
            lstm = nn.LSTM(w[0].shape[1], w[1].shape[1])
            for parameter, value in zip(lstm.parameters(), w, strict=True):
                parameter.data = value
            made = torch.ao.quantization.quantize_dynamic(
                nn.Sequential(lstm), {nn.LSTM}, dtype=torch.qint8
            )[0]
            return lambda: made(tensors[0])[0]
        case "embedding8" | "embedding4":
            lists, offsets = itertools.cycle(list(tensors[0])), tensors[1]
            prepack, sums = {
                "embedding8": (ops.embedding_bag_byte_prepack, ops.embedding_bag_byte_rowwise_offsets),
                "embedding4": (ops.embedding_bag_4bit_prepack, ops.embedding_bag_4bit_rowwise_offsets),
            }[kind]
            table = prepack(weights.pop("weight"))
            return lambda: sums(table, next(lists), offsets)
        case "fp16":
            packed = ops.linear_prepack_fp16(weights["weight"], weights["bias"])
            return lambda: ops.linear_dynamic_fp16(tensors[0], packed)
    raise ValueError(f"no torch form of {kind}")
