"""Dump one of torch's backend configs as JSON.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/backend_config.py --backend qnnpack

writes `tests/golden/qnnpack.json`, the shape of `BackendConfig.to_dict()` with classes and
functions replaced by their public dotted paths (methods are bare strings, `"relu_"`), dtypes by
their names and enumerators by theirs, and `tests/golden/qnnpack_extra.json`: by index of the
entry, the names of the functions that the first file leaves out (`fuser_method`,
`root_node_getter`, `extra_inputs_getter`), with the torch version.

Keys are left out exactly where `to_dict()` leaves them out; of a dtype with constraints only the
bounds that are set are written.

Options: `--backend qnnpack|fbgemm|x86|onednn|executorch|tensorrt|native`, `--out DIR`,
`--text FILE` (also write a list made for reading), `--dry-run` (write nothing).
"""

import argparse
import json
import pathlib

import torch
import torch.ao.quantization.quantize_fx  # noqa: F401  (fills torch.ao.quantization)
from torch.ao.quantization import backend_config as bc

from names import TORCH_VERSION, dtype_name, public_name

BACKENDS = {
    "qnnpack": bc.get_qnnpack_backend_config,
    "fbgemm": bc.get_fbgemm_backend_config,
    "x86": __import__(
        "torch.ao.quantization.backend_config.x86", fromlist=["x"]
    ).get_x86_backend_config,
    "onednn": bc.get_onednn_backend_config,
    "executorch": bc.get_executorch_backend_config,
    "tensorrt": bc.get_tensorrt_backend_config,
    "native": bc.get_native_backend_config,
}

BOUNDS = [
    "quant_min_lower_bound",
    "quant_max_upper_bound",
    "scale_min_lower_bound",
    "scale_max_upper_bound",
    "scale_exact_match",
    "zero_point_exact_match",
]

FUNCTIONS = ["fuser_method", "root_node_getter", "extra_inputs_getter"]


def dtype_with_constraints(d):
    out = {"dtype": dtype_name(d.dtype)}
    for bound in BOUNDS:
        value = getattr(d, bound)
        if value is not None:
            out[bound] = value
    return out


def dtype_config(config):
    out = {}
    for key, value in config.to_dict().items():
        if isinstance(value, bc.DTypeWithConstraints):
            out[key] = dtype_with_constraints(value)
        elif isinstance(value, torch.dtype):
            out[key] = dtype_name(value)
        else:
            assert isinstance(value, bool), (key, value)
            out[key] = value
    return out


def pattern_config(config):
    d = config.to_dict()
    out = {}
    for key in ["pattern", "pattern_complex_format"]:
        if key in d:
            out[key] = public_name(d.pop(key))
    out["observation_type"] = d.pop("observation_type").name
    out["dtype_configs"] = [dtype_config(c) for c in config.dtype_configs]
    d.pop("dtype_configs")
    for key in [
        "root_module",
        "qat_module",
        "reference_quantized_module_for_root",
        "fused_module",
    ]:
        if key in d:
            out[key] = public_name(d.pop(key))
    key = "num_tensor_args_to_observation_type"
    if key in d:
        out[key] = {str(n): o.name for n, o in d.pop(key).items()}
    key = "input_type_to_index"
    if key in d:
        out[key] = dict(d.pop(key))
    extra = {}
    for key in FUNCTIONS:
        if key in d:
            f = d.pop(key)
            extra[key] = f"{f.__module__}.{f.__qualname__}"
    assert not d, d
    return out, extra


def backend_config(config):
    entries, extras = [], {}
    for i, c in enumerate(config.configs):
        entry, extra = pattern_config(c)
        entries.append(entry)
        if extra:
            extras[str(i)] = extra
    return {"name": config.name, "configs": entries}, extras


def dtype_config_label(c):
    """One line for a dtype config."""

    def one(d):
        if d is None:
            return "-"
        s = d["dtype"]
        rest = []
        if "quant_min_lower_bound" in d or "quant_max_upper_bound" in d:
            rest.append(f"{d.get('quant_min_lower_bound')}..={d.get('quant_max_upper_bound')}")
        if "scale_min_lower_bound" in d:
            rest.append(f"scale>={d['scale_min_lower_bound']}")
        if "scale_max_upper_bound" in d:
            rest.append(f"scale<={d['scale_max_upper_bound']}")
        if "scale_exact_match" in d:
            rest.append(f"scale=={d['scale_exact_match']}")
        if "zero_point_exact_match" in d:
            rest.append(f"zp=={d['zero_point_exact_match']}")
        return s + (f"[{', '.join(rest)}]" if rest else "")

    s = f"in {one(c.get('input_dtype'))} out {one(c.get('output_dtype'))}"
    s += f" weight {one(c.get('weight_dtype'))} bias {c.get('bias_dtype', '-')}"
    if "is_dynamic" in c:
        s += f" is_dynamic={c['is_dynamic']}"
    return s


def readable(dump, extras):
    labels = {}
    for e in dump["configs"]:
        for c in e["dtype_configs"]:
            labels.setdefault(json.dumps(c), f"D{len(labels)}")
    lists = {}
    for e in dump["configs"]:
        lists.setdefault(tuple(labels[json.dumps(c)] for c in e["dtype_configs"]), None)
    lines = [f"{dump['name']}: {len(dump['configs'])} entries, "
             f"{sum(len(e['dtype_configs']) for e in dump['configs'])} pairs", "", "dtype configs"]
    lines += [f"  {name}: {dtype_config_label(json.loads(c))}" for c, name in labels.items()]
    lines += ["", "lists in use"] + ["  [" + " ".join(x) + "]" for x in lists] + ["", "entries"]
    for i, e in enumerate(dump["configs"]):
        p = e.get("pattern", e.get("pattern_complex_format"))
        kind = "" if "pattern" in e else " (complex)"
        s = json.dumps(p).replace('"', "")
        lines.append(f"{i:3} {s}{kind}")
        lines.append(f"      {e['observation_type']}  ["
                     + " ".join(labels[json.dumps(c)] for c in e["dtype_configs"]) + "]")
        mods = [f"{short}={e[k]}" for short, k in [
            ("root", "root_module"), ("qat", "qat_module"),
            ("ref", "reference_quantized_module_for_root"), ("fused", "fused_module"),
            ("num_tensor_args", "num_tensor_args_to_observation_type"),
            ("input_index", "input_type_to_index")] if k in e]
        if mods:
            lines.append("      " + "  ".join(mods))
        x = extras.get(str(i))
        if x:
            lines.append("      " + "  ".join(f"{k}={v}" for k, v in x.items()))
    return "\n".join(lines) + "\n"


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=BACKENDS, default="qnnpack")
    parser.add_argument("--out", type=pathlib.Path, default=root / "golden")
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    dump, extras = backend_config(BACKENDS[args.backend]())
    print(dump["name"], len(dump["configs"]), "entries",
          sum(len(e["dtype_configs"]) for e in dump["configs"]), "pairs")
    if args.text:
        args.text.write_text(readable(dump, extras))
    if args.dry_run:
        return
    (args.out / f"{args.backend}.json").write_text(json.dumps(dump, indent=1) + "\n")
    extra = {"torch": TORCH_VERSION, "functions": extras}
    (args.out / f"{args.backend}_extra.json").write_text(json.dumps(extra, indent=1) + "\n")


if __name__ == "__main__":
    main()
