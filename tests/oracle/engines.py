"""Record what torch's engines fbgemm, x86 and onednn compute, beside what numerics.py records of qnnpack.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/engines.py            # on a CPU whose widest instruction set is AVX2

writes `tests/golden/numerics/*_fbgemm.npz`, of operators that these engines compute by other formulas than
qnnpack, as numerics.py does, whose notes hold here too; and `tests/golden/numerics/engines.npz`, what the
engines answer that differs: x86 and onednn from fbgemm on the cases of these files, all three from the goldens
of the other families, whose generators run again under each engine, on the same inputs. README.md describes
the layout. For every family and engine the number of elements that differ is printed.

Also writes `tests/golden/networks_x86.npz`: two small networks, quantized by torch's FX flow with the default
qconfig mapping of x86. Arrays `NETWORK/PARAMETER` of the float module, `NETWORK/calibration` and `NETWORK/x`,
samples one behind the other, and `NETWORK/y`, what the quantized module answers to `x`, all f32;
`NETWORK/LAYER.integers` (i8) and `NETWORK/LAYER.scales`, the quantized weights. `meta` has, by network, scale and
zero point of what each operator writes.
"""

import contextlib
import json
import pathlib

import numpy as np
import torch
import torch.nn as nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.backend_config.x86 import get_x86_backend_config
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import embedding
import numerics as N
import spatial as S

ENGINES = ("fbgemm", *N.OTHERS)

# Other formulas than qnnpack's.
OWN = {
    "linear_fbgemm": lambda: N.linear("quint8", 260, "fbgemm"),
    "conv1d_fbgemm": lambda: N.conv(1, "quint8", 220, "fbgemm"),
    "conv2d_fbgemm": lambda: N.conv(2, "quint8", 300, "fbgemm"),
    "conv3d_fbgemm": lambda: S.conv(3, "quint8", 230, False, "fbgemm"),
    "conv_transpose1d_fbgemm": lambda: S.conv(1, "quint8", 160, True, "fbgemm"),
    "conv_transpose2d_fbgemm": lambda: S.conv(2, "quint8", 180, True, "fbgemm"),
    "conv_transpose3d_fbgemm": lambda: S.conv(3, "quint8", 130, True, "fbgemm"),
    "linear_dynamic_fbgemm": lambda: N.linear_dynamic(240, "fbgemm"),
    "unary_fbgemm": lambda: N.rounded_late(201),
    "batch_norm_fbgemm": lambda: S.norm("batch_norm", "quint8", 200, "fbgemm"),
}

# The same formula, or within a step: the goldens' own generators. (qint8 sums and products are XNNPACK's under
# qnnpack, and ATen's here.)
AGAIN = {
    **{name: N.FAMILIES[name] for name in (
        "add_quint8", "add_qint8", "mul_quint8", "mul_qint8", "matmul_quint8", "matmul_qint8", "prelu_quint8",
        "cat_quint8", "cat_qint8", "clamp_quint8", "clamp_qint8", "unary_quint8", "unary_qint8", "scalar_quint8",
        "scalar_qint8", "softmax_quint8", "max_pool1d_quint8", "max_pool2d_quint8", "max_pool2d_qint8",
        "avg_pool2d_quint8", "adaptive_avg_pool2d_quint8", "mean_quint8", "linear_dynamic_fp16",
        "recurrent_fp16")},
    **{name: S.FAMILIES[name] for name in (
        "max_pool3d_quint8", "avg_pool3d_quint8", "adaptive_avg_pool1d_any_quint8",
        "adaptive_avg_pool2d_any_quint8", "adaptive_avg_pool3d_any_quint8", "mean_any_quint8",
        "batch_norm_quint8", "batch_norm_qint8", "group_norm_quint8", "instance_norm_quint8",
        "layer_norm_quint8", "interpolate_nearest_quint8", "interpolate_bilinear_quint8")},
    # made here
    "recurrent_dynamic_fbgemm": lambda: N.recurrent("recurrent_dynamic_fbgemm", 200, False, True),
    "embedding_byte": lambda: embedding.bags(8, 250),
    "embedding_4bit": lambda: embedding.bags(4, 250),
}


def golden(folder, name):
    """The flat arrays of a family, and its cases."""
    with np.load(folder / f"{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    return arrays, json.loads(arrays.pop("meta").tobytes())["cases"]


def part(arrays, case, key):
    at, shape = case[key]
    return arrays[key][at:at + int(np.prod(shape))].reshape(shape)


class Differences:
    """What an engine answers that is not in the family's own archive."""

    def __init__(self):
        self.flat, self.size, self.families = {}, {}, {}

    def add(self, family, engine, index, values):
        """`values` is None where the engine refuses the case or is known to be wrong."""
        entry = {"case": index}
        if values is not None:
            key = values.dtype.name
            at = self.size.get(key, 0)
            self.flat.setdefault(key, []).append(values.reshape(-1))
            self.size[key] = at + values.size
            entry["y"] = [at, values.size]
        self.families.setdefault(family, {}).setdefault(engine, []).append(entry)

    def refuse(self, family, engine):
        """Notes that an engine has no such operator."""
        self.families.setdefault(family, {})[engine] = None

    def report(self, family, cases, of):
        for engine in ENGINES:
            entries = self.families.get(family, {}).get(engine, [])
            if entries is None:
                print(f"  {engine}: refuses")
                continue
            without = sum("y" not in entry for entry in entries)
            print(f"  {engine}: {len(entries) - without} of {cases} cases differ from {of}, {without} left out")

    def write(self, path):
        arrays = {key: np.concatenate(parts) for key, parts in self.flat.items()}
        meta = {"torch": N.TORCH_VERSION, "engines": ENGINES, "families": self.families}
        arrays["meta"] = np.frombuffer(json.dumps(meta, separators=(",", ":")).encode(), np.uint8)
        np.savez_compressed(path, **arrays)
        print(path.name, path.stat().st_size, "bytes")


class Convolutions(nn.Module):
    """Every kind of convolution, a sum, a function of one value, a pool and linear layers."""

    shape = (1, 3, 12, 10)
    # what the quantized module's operators write, in their order, as the Rust test names it
    names = ("x", "first", "depthwise", "pointwise", "sum", "grouped", "hardswish", "up", "pool", "flat", "fc1", "fc2")

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.grouped = nn.Conv2d(16, 24, 3, stride=2, groups=2)
        self.hardswish = nn.Hardswish()
        self.up = nn.ConvTranspose2d(24, 8, 2, stride=2)
        self.fc1 = nn.Linear(8 * 5 * 4, 20)
        self.fc2 = nn.Linear(20, 7)

    def forward(self, x):
        x = nn.functional.relu(self.first(x))
        y = self.pointwise(nn.functional.relu(self.depthwise(x)))
        x = nn.functional.relu(torch.add(x, y))
        x = self.hardswish(self.grouped(x))
        x = nn.functional.max_pool2d(self.up(x), 2)
        return self.fc2(nn.functional.relu(self.fc1(torch.flatten(x, 1))))


class Layers(nn.Module):
    """Linear layers with and without an activation, and a tanh: last, as its 8 bits would saturate in the next."""

    shape = (3, 20)
    names = ("x", "fc1", "fc2", "fc3", "tanh")

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 40)
        self.fc2 = nn.Linear(40, 33)
        self.fc3 = nn.Linear(33, 6, bias=False)
        self.tanh = nn.Tanh()

    def forward(self, x):
        return self.tanh(self.fc3(self.fc2(nn.functional.relu(self.fc1(x)))))


class Record(torch.fx.Interpreter):
    """Keeps every quantized tensor that an operator writes."""

    def run_node(self, n):
        y = super().run_node(n)
        if n.op in ("call_function", "call_module", "call_method") and isinstance(y, torch.Tensor) and y.is_quantized:
            self.values.append((n.target if n.op == "call_module" else None, y))
        return y


def networks(path):
    torch.backends.quantized.engine = "x86"
    arrays, meta = {}, {"torch": N.TORCH_VERSION, "engine": "x86"}
    for seed, (name, kind) in enumerate((("convolutions", Convolutions), ("layers", Layers))):
        torch.manual_seed(seed)
        module = kind().eval()
        calibration, x = (torch.randn(8, *kind.shape) for _ in range(2))
        prepared = prepare_fx(module, get_default_qconfig_mapping("x86"), (x[0],),
                              backend_config=get_x86_backend_config())
        with torch.no_grad():
            for sample in calibration:
                prepared(sample)
            quantized = convert_fx(prepared, backend_config=get_x86_backend_config())
            y = torch.stack([quantized(sample) for sample in x])
            record = Record(quantized)
            record.values = []
            record.run(x[0])
        assert len(record.values) == len(kind.names), [target for target, _ in record.values]
        meta[name] = {label: [value.q_scale(), value.q_zero_point()]
                      for label, (_, value) in zip(kind.names, record.values)}
        for label, (target, _) in zip(kind.names, record.values):
            layer = quantized.get_submodule(target) if target else None
            if hasattr(layer, "weight"):
                assert label == target, (label, target)
                w = layer.weight()
                scales = w.q_per_channel_scales() if w.qscheme() == torch.per_channel_affine else torch.tensor([w.q_scale()])
                arrays[f"{name}/{label}.scales"] = scales.float().numpy()
                arrays[f"{name}/{label}.integers"] = w.int_repr().contiguous().numpy()
        arrays.update({f"{name}/{key}": value.numpy() for key, value in module.state_dict().items()})
        arrays.update({f"{name}/calibration": calibration.numpy(), f"{name}/x": x.numpy(), f"{name}/y": y.numpy()})
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    print(path.name, path.stat().st_size, "bytes")


@contextlib.contextmanager
def forced(engine):
    N.FORCED[0] = engine
    try:
        yield
    finally:
        N.FORCED[0] = None


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "golden" / "numerics"
    networks(folder.parent / "networks_x86.npz")
    differences = Differences()
    for name, make in OWN.items():
        family = make()
        family.write(folder, exact=not isinstance(family, S.Steps))
        for index, engine, values in family.others:
            differences.add(name, engine, index, values)
        differences.report(name, len(family.cases), "fbgemm")
    AGAIN["recurrent_dynamic_fbgemm"]().write(folder, exact=False)
    for name, make in AGAIN.items():
        print(name)
        arrays, cases = golden(folder, name)
        key = "out" if name.startswith("recurrent") else "y"
        for engine in ENGINES:
            try:
                with forced(engine):
                    family = make()
            except RuntimeError as error:
                assert "currently not supported" in str(error), error
                differences.refuse(name, engine)
                continue
            flat = {k: np.concatenate(v) for k, v in family.flat.items()}
            assert len(family.cases) == len(cases), (name, engine)
            for k in arrays:
                assert k == key or np.array_equal(arrays[k], flat[k]), (name, engine, k)
            for index, (old, new) in enumerate(zip(cases, family.cases)):
                got = part(flat, new, key)
                if name.startswith("avg_pool") and max(old["x"][1][2:]) == 1 and max(old["y"][1][2:]) > 1:
                    differences.add(name, engine, index, None)  # torch mixes up the layouts of a 1 x 1 image
                    continue
                if not np.array_equal(part(arrays, old, key), got, equal_nan=got.dtype.kind == "f"):
                    differences.add(name, engine, index, got)
        differences.report(name, len(cases), "its golden")
    differences.write(folder / "engines.npz")


if __name__ == "__main__":
    main()
