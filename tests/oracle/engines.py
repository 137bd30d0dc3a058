"""Record what torch's engines fbgemm, x86 and onednn compute, beside what numerics.py records of qnnpack.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/engines.py            # on a CPU whose widest instruction set is AVX2

writes `tests/golden/numerics/*_fbgemm.npz`, of operators that these engines compute by other formulas than
qnnpack, as numerics.py does, whose notes hold here too; and `tests/golden/numerics/engines.npz`, what the
engines answer that differs: x86 and onednn from fbgemm on the cases of these files, all three from the goldens
of the other families, whose generators run again under each engine, on the same inputs. README.md describes
the layout. For every family and engine the number of elements that differ is printed.
"""

import contextlib
import json
import pathlib

import numpy as np

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


@contextlib.contextmanager
def forced(engine):
    N.FORCED[0] = engine
    try:
        yield
    finally:
        N.FORCED[0] = None


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "golden" / "numerics"
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
