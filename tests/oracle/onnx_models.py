"""Small ONNX models, made by torch's exporter and ONNX Runtime's quantizer, and what ONNX Runtime answers.

How to run (from the root of the repository):

    pip install torch==2.8.0 onnx==1.23.2 onnxruntime==1.32.0 onnx_ir numpy safetensors
    python tests/oracle/onnx_models.py

Writes into `tests/golden/onnx`:

- `NAME.onnx.gz`: the models. `digits_*` is the trained network of `examples/data`, its weights rounded to
  bfloat16 so that the file compresses; all others are small and have random weights;
- `NAME.npz`: what ONNX Runtime answers. `meta` (u8, JSON) has `onnxruntime` (version) and `models`, a list of
  `{"model", "inputs", "outputs", "values"}`; each of the last three maps names of the graph to arrays of the
  archive. `values` are all inner 8-bit values, in the order of the nodes. Indices are stored as i32 (the
  graphs take int64). `digits.npz` holds the inner values of the first 10, and the outputs of the first 100
  evaluation images of `examples/data/digits.npz`, normalised in f32 as `(x / 255 - 0.1307) / 0.3081`
  (three roundings); they are not stored.

ONNX Runtime runs with `session.x64quantprecision`, without which its kernels for int8 weights saturate on
processors with AVX2 but no VNNI (its kernels for int8 activations do not; it cannot combine them with the option).
The graphs with blocked weights run without any rewriting: otherwise ONNX Runtime makes them MatMulNBits with
`accuracy_level` 4, which rounds their inputs to 8 bits. Every 8-bit value of a QDQ graph is checked against the same graph run in float without any fusion, every
QLinearConv, MatMulInteger and ConvInteger against sums without rounding: they may differ by one step (by two in
`mobile_qdq_u8`, where steps of one layer go on into the next).
Deterministic.
"""

import argparse
import copy
import gzip
import json
import logging
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnx.version_converter
import torch
import torch.nn as nn
from onnx import numpy_helper
from onnxruntime import __version__ as VERSION
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "models"))
import networks  # noqa: E402
import peer  # noqa: E402

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
f32 = np.float32


class Golden:
    """One archive and its models."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.arrays, self.models = {}, []

    def put(self, array):
        kinds = {"int64": np.int32, "bool": np.uint8}
        array = np.asarray(array)
        array = array.astype(kinds.get(array.dtype.name, array.dtype))
        for key, other in self.arrays.items():
            if other.dtype == array.dtype and np.array_equal(other, array):
                return key
        key = f"a{len(self.arrays)}"
        self.arrays[key] = array
        return key

    def model(self, name, path, feeds, keep_inputs=True, values=True, count=None, precise=True, plain=False):
        """Stores a model and what it answers to `feeds` (name to array)."""
        data = pathlib.Path(path).read_bytes()
        (self.folder / f"{name}.onnx.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        outputs = peer.session(pathlib.Path(path), precise=precise, plain=plain).run(None, feeds)
        names = [o.name for o in onnx.load(path).graph.output]
        entry = {
            "model": name,
            "inputs": {k: self.put(v) for k, v in feeds.items()} if keep_inputs else {},
            "outputs": {k: self.put(v) for k, v in zip(names, outputs)},
            "values": {},
        }
        if values:
            exposed, inner = peer.expose(pathlib.Path(path), "quantized")
            some = {k: v[:count] for k, v in feeds.items()}
            found = peer.session(exposed, precise=precise).run(inner, some)
            entry["values"] = {k: self.put(v) for k, v in zip(inner, found)}
            by_name = dict(zip(inner, found)) | some
            if any(n.op_type == "QLinearConv" for n in exposed.graph.node):
                pairs = [(by_name[n.output[0]], convolution(exposed.graph, n, by_name))
                         for n in exposed.graph.node if n.op_type == "QLinearConv"]
                what = "exact convolutions"
            elif any(n.op_type.endswith("Integer") for n in exposed.graph.node):
                pairs, what = integer_products(exposed, inner, some), "exact products"
            else:
                pairs = list(zip(found, peer.session(exposed, plain=True).run(inner, some)))
                what = "the unfused graph"
            steps = max([int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in pairs], default=0)
            same, all_ = sum(int((a == b).sum()) for a, b in pairs), sum(a.size for a, _ in pairs)
            print(f"{name}: {len(found)} inner values; {same} of {all_} equal {what}, the others {steps} steps off at most")
            assert steps <= (2 if name == "mobile_qdq_u8" else 1), name
        self.models.append(entry)

    def write(self):
        meta = {"onnxruntime": VERSION, "torch": torch.__version__.split("+")[0], "models": self.models}
        self.arrays["meta"] = np.frombuffer(json.dumps(meta, separators=(",", ":")).encode(), np.uint8)
        path = self.folder / f"{self.name}.npz"
        np.savez_compressed(path, **self.arrays)
        print(f"{self.name}: {len(self.models)} models, {path.stat().st_size} bytes of answers")


def convolution(graph, node, values):
    """What a QLinearConv should answer to the values that ONNX Runtime gave it: sums without rounding."""
    values = values | {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    x, xs, xz, w, ws, wz, ys, yz, *bias = (values[name] for name in node.input)
    a = {t.name: onnx.helper.get_attribute_value(t) for t in node.attribute}
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    column = lambda v: np.asarray(v, np.float64).reshape(-1, 1, 1, 1)
    x = nn.functional.pad(torch.from_numpy(x.astype(np.float64) - float(xz)), (left, right, top, bottom))
    w = torch.from_numpy(w.astype(np.float64) - column(wz))
    sums = nn.functional.conv2d(x, w, torch.from_numpy(bias[0].astype(np.float64)) if bias else None,
                                a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))
    factor = (column(xs) * column(ws) / column(ys)).reshape(1, -1, 1, 1)
    bounds = np.iinfo(yz.dtype)
    return np.clip(np.rint(sums.numpy() * factor) + float(yz), bounds.min, bounds.max).astype(yz.dtype)


def integer_products(model, inner, feeds):
    """What MatMulInteger and ConvInteger answer, and should to the same input."""
    graph = copy.deepcopy(model.graph)
    nodes = [n for n in graph.node if n.op_type in ("MatMulInteger", "ConvInteger")]
    sums = [n.output[0] for n in nodes]
    graph.output.extend(onnx.helper.make_tensor_value_info(s, onnx.TensorProto.INT32, None) for s in sums)
    watched = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    inputs = list(dict.fromkeys(name for n in nodes for name in n.input if name in inner))
    zero_points = [n.input[2] for n in nodes if n.input[2] not in inputs and n.input[2] in inner]
    found = peer.session(watched, precise=True).run([*inputs, *zero_points, *sums], feeds)
    values = dict(zip([*inputs, *zero_points, *sums], found))
    values |= {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    pairs = []
    for n in nodes:
        x, w, xz, wz = (values[name].astype(np.float64) for name in n.input)
        if n.op_type == "MatMulInteger":
            exact = (x - xz) @ (w - wz)
        else:
            a = {t.name: onnx.helper.get_attribute_value(t) for t in n.attribute}
            top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
            x = nn.functional.pad(torch.from_numpy(x - xz), (left, right, top, bottom))
            exact = nn.functional.conv2d(x, torch.from_numpy(w - wz), None, a.get("strides", 1), 0,
                                         a.get("dilations", 1), a.get("group", 1)).numpy()
        pairs.append((values[n.output[0]], exact))
    return pairs


class Feeds:
    """Calibration data."""

    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def static(source, to, feeds, form, activation, weight, per_channel, symmetric=False):
    quantize_static(
        str(source), str(to), Feeds(feeds), quant_format=form, per_channel=per_channel,
        activation_type=activation, weight_type=weight, calibrate_method=CalibrationMethod.MinMax,
        extra_options={"ActivationSymmetric": symmetric},
    )


def export(module, example, path, opset=17, fold=True, names=("input",), outputs=("output",)):
    example = example if isinstance(example, tuple) else (example,)
    with torch.no_grad():
        torch.onnx.export(
            module.eval(), example, str(path), dynamo=False, opset_version=opset, do_constant_folding=fold,
            input_names=list(names), output_names=list(outputs),
            dynamic_axes={n: {0: "batch"} for n in (*names, *outputs)},
        )


def random_statistics(module):
    """Batch normalizations that do something."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 2)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.2)
    return module


class Pads(nn.Module):
    """Paddings as in EfficientNet: on one side only, by modules of their own."""

    def __init__(self):
        super().__init__()

        def block(*conv, pad, **options):
            return [nn.ZeroPad2d(pad), nn.Conv2d(*conv, bias=False, **options), nn.BatchNorm2d(conv[1])]

        self.stem = nn.Sequential(*block(3, 8, 3, pad=(0, 1, 0, 1), stride=2), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(*block(16, 16, 5, pad=(2, 2, 2, 2), groups=16), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.down = nn.Sequential(*block(8, 8, 3, pad=(1, 0, 1, 0), stride=2, groups=8), nn.ReLU6())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        x = self.pool(self.down(x))
        return self.fc(x.view(x.size(0), -1))


class Mobile(nn.Module):
    """What mobile networks use: hard swish, squeeze and excitation, concatenation, pools, SiLU, resizing."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid()
        )
        self.left, self.right = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, 10, 3, padding=2, dilation=2)
        self.average, self.most = nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x * self.squeeze(x)
        left = nn.functional.silu(self.left(x))
        right = nn.functional.leaky_relu(self.right(x), 0.1)
        x = torch.cat([left, right], 1)
        x = self.average(x) - self.most(x)
        x = nn.functional.interpolate(self.up(x), scale_factor=2, mode="nearest")
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return torch.softmax(self.fc(x), -1)


class Block(nn.Module):
    """One layer of a transformer over token ids."""

    def __init__(self, width=32, heads=4, words=50):
        super().__init__()
        self.heads = heads
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(16, width)
        self.before, self.between, self.after = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, ids):
        batch, length = ids.shape
        x = self.words(ids) + self.places(torch.arange(length))
        q, k, v = self.qkv(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, -1))
        x = x + self.narrow(nn.functional.gelu(self.wide(self.between(x))))
        return self.after(x).mean(1)


class Recurrent(nn.Module):
    """An LSTM in both directions, then a GRU; time first."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, bidirectional=True)
        self.gru = nn.GRU(16, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        y, (h, _) = self.lstm(x)
        z, last = self.gru(y)
        return self.fc(z), last


def digits(out, scratch):
    """The trained network: float, QDQ and QOperator."""
    networks.digits(scratch)
    source = scratch / "digits_float.onnx"
    model = onnx.load(scratch / "float.onnx")
    for t in model.graph.initializer:
        bits = numpy_helper.to_array(t).copy().view(np.uint32)
        shape = tuple(t.dims)
        bits = ((bits + (1 << 15)) >> 16) << 16
        t.CopyFrom(numpy_helper.from_array(bits.view(f32).reshape(shape), t.name))
    onnx.save(model, source)
    data = np.load(ROOT / "examples/data/digits.npz")
    normal = lambda x: ((x.astype(f32) / f32(255) - f32(0.1307)) / f32(0.3081))[:, None]
    calibration = [{"input": normal(data["calib_images"][i : i + 1])} for i in range(256)]
    feeds = {"input": normal(data["eval_images"][:100])}
    golden = Golden(out, "digits")
    golden.model("digits_float", source, feeds, keep_inputs=False, values=False)
    for name, form in [("qdq", QuantFormat.QDQ), ("qoperator", QuantFormat.QOperator)]:
        to = scratch / f"digits_{name}.onnx"
        static(source, to, calibration, form, QuantType.QUInt8, QuantType.QInt8, True)
        golden.model(f"digits_{name}", to, feeds, keep_inputs=False, count=10)
    golden.write()


def small(out, scratch):
    golden = Golden(out, "small")
    rng = np.random.RandomState(7)

    def images(batch, size):
        return rng.randn(batch, 3, size, size).astype(f32)

    # float graphs as torch exports them
    torch.manual_seed(1)
    pads = random_statistics(Pads())
    feeds = {"input": images(3, 17)}
    example = torch.zeros(1, 3, 17, 17)
    for name, opset, fold in [("pads_raw", 17, True), ("pads_raw_opset11", 11, True), ("pads_unfolded", 17, False)]:
        export(pads, example, scratch / f"{name}.onnx", opset, fold)
        golden.model(name, scratch / f"{name}.onnx", feeds, values=False)
    clean = scratch / "pads_clean.onnx"
    networks.fold(scratch / "pads_raw.onnx", clean)
    golden.model("pads_clean", clean, feeds, values=False)

    torch.manual_seed(2)
    mobile = random_statistics(Mobile())
    shots = {"input": images(1, 32)}
    for opset in [11, 17]:  # hard swish in parts, then as an operator
        path = scratch / f"mobile_opset{opset}.onnx"
        export(mobile, torch.zeros(1, 3, 32, 32), path, opset)
        golden.model(path.stem, path, shots, values=False)

    torch.manual_seed(3)
    block = Block()
    ids = {"ids": rng.randint(0, 50, (2, 7)).astype(np.int64)}
    for opset in [14, 17]:  # layer normalization in parts, then as an operator
        path = scratch / f"transformer_opset{opset}.onnx"
        export(block, torch.zeros(1, 7, dtype=torch.int64), path, opset, names=["ids"])
        golden.model(path.stem, path, ids, values=False)

    torch.manual_seed(4)
    path = scratch / "recurrent.onnx"
    with torch.no_grad():
        torch.onnx.export(
            Recurrent().eval(), (torch.zeros(5, 2, 6),), str(path), dynamo=False, opset_version=17,
            input_names=["input"], output_names=["output", "last"],
        )
    golden.model("recurrent", path, {"input": rng.randn(5, 2, 6).astype(f32)}, values=False)

    # quantized by ONNX Runtime
    u8, s8 = QuantType.QUInt8, QuantType.QInt8
    qdq, qop = QuantFormat.QDQ, QuantFormat.QOperator
    calibration = [{"input": images(1, 17)} for _ in range(16)]
    for name, form, activation, per_channel, symmetric in [
        ("pads_qdq_u8", qdq, u8, True, False),
        ("pads_qdq_s8", qdq, s8, True, False),
        ("pads_qdq_s8_symmetric_per_tensor", qdq, s8, False, True),
        ("pads_qoperator_u8", qop, u8, True, False),
        ("pads_qoperator_s8", qop, s8, True, False),
        ("pads_qoperator_u8_per_tensor", qop, u8, False, False),
    ]:
        static(clean, scratch / f"{name}.onnx", calibration, form, activation, s8, per_channel, symmetric)
        golden.model(name, scratch / f"{name}.onnx", feeds, precise=name != "pads_qoperator_s8")
    shots32 = [{"input": images(1, 32)} for _ in range(16)]
    for name, form in [("mobile_qdq_u8", qdq), ("mobile_qoperator_u8", qop)]:
        source, to = scratch / "mobile_opset17.onnx", scratch / f"{name}.onnx"
        static(source, to, shots32, form, u8, s8, True)
        golden.model(name, to, shots)

    # dynamic: MatMulInteger, ConvInteger, DynamicQuantizeLinear
    source = scratch / "transformer_opset17.onnx"
    for name, weight, per_channel in [("s8", s8, False), ("u8", u8, False), ("s8_per_channel", s8, True)]:
        to = scratch / f"transformer_dynamic_{name}.onnx"
        quantize_dynamic(str(source), str(to), weight_type=weight, per_channel=per_channel)
        golden.model(to.stem, to, ids)
    to = scratch / "pads_dynamic_u8.onnx"  # ConvInteger exists for unsigned weights only
    quantize_dynamic(str(clean), str(to), weight_type=u8)
    golden.model("pads_dynamic_u8", to, feeds)

    # weights of 4 bits in blocks of 16: one operator, then as DequantizeLinear with a block size
    for name, form, symmetric in [
        ("int4", qop, True), ("int4_zero_points", qop, False), ("int4_qdq", qdq, True), ("int4_qdq_zero_points", qdq, False),
    ]:
        config = DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=symmetric, quant_format=form)
        float_model = onnx.load(source)
        if form == qdq:  # block sizes need opset 21
            float_model = onnx.version_converter.convert_version(float_model, 21)
        quantizer = MatMulNBitsQuantizer(float_model, algo_config=config)
        quantizer.process()
        path = scratch / f"transformer_{name}.onnx"
        onnx.save(quantizer.model.model, path)
        # rewritten to MatMulNBits the graphs would have their inputs rounded to 8 bits, which they do not say
        golden.model(path.stem, path, ids, values=False, plain=form == qdq)
    golden.write()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests" / "golden" / "onnx")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        digits(args.out, pathlib.Path(scratch))
        small(args.out, pathlib.Path(scratch))
    for path in sorted(args.out.glob("*.onnx.gz")):
        model = onnx.load_from_string(gzip.decompress(path.read_bytes()))
        ops = sorted({n.op_type for n in model.graph.node})
        print(f"{path.name}: {path.stat().st_size} bytes, {len(model.graph.node)} nodes: {' '.join(ops)}")


if __name__ == "__main__":
    main()
