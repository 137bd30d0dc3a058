"""Dump torch's backend configs as JSON.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/backend_config.py

writes `tests/golden/backends/NAME.json.gz` for every backend that torch ships: the shape of
`BackendConfig.to_dict()` with classes and functions replaced by their public dotted paths (methods are bare
strings, `"relu_"`; operators of exported graphs are `"torch.ops.aten.add.Tensor"`), dtypes by their names and
enumerators by theirs. Nested patterns are nested lists, operator first, `"MatchAllNode"` for anything, numbers
as they are. What `to_dict()` gives as a function is written as what it does:

    fuser_method    sequential, conv_bn, conv_bn_relu, conv_transpose_bn, linear_bn, linear_bn_leaky_relu,
                    conv_add, conv_bn_add, conv_add_relu, conv_bn_add_relu
    root_node       the operands to go through from the pattern's last operator to its root: [0, 1] is the
                    second operand of its first operand; found by calling the getter on a pattern of labels
    extra_inputs    the same for the further inputs of a fused module, a list of paths

Keys are left out exactly where `to_dict()` leaves them out; of a dtype with constraints only the bounds that
are set are written.

Beside the configs, `tests/golden/backends/queries.json.gz` holds what the functions of
`torch.ao.quantization.backend_config.utils` answer for each: see `queries`.

Options: `--backend NAME` (one only), `--out DIR`, `--text FILE` (also write a list made for reading),
`--dry-run` (write nothing).
"""

import argparse
import gzip
import json
import pathlib

import torch
import torch.ao.quantization.quantize_fx  # noqa: F401  (fills torch.ao.quantization)
from torch.ao.quantization import backend_config as bc
from torch.ao.quantization.backend_config import _qnnpack_pt2e, native, utils, x86
from torch.ao.quantization.utils import MatchAllNode

from names import TORCH_VERSION, dtype_name, public_name

BACKENDS = {
    "qnnpack": bc.get_qnnpack_backend_config,
    "fbgemm": bc.get_fbgemm_backend_config,
    "x86": x86.get_x86_backend_config,
    "onednn": bc.get_onednn_backend_config,
    "executorch": bc.get_executorch_backend_config,
    "tensorrt": bc.get_tensorrt_backend_config,
    "native": bc.get_native_backend_config,
    "native_and_fp16": native.get_test_only_legacy_native_backend_config,
    "qnnpack_pt2e": _qnnpack_pt2e.get_qnnpack_pt2e_backend_config,
}

BOUNDS = [
    "quant_min_lower_bound",
    "quant_max_upper_bound",
    "scale_min_lower_bound",
    "scale_max_upper_bound",
    "scale_exact_match",
    "zero_point_exact_match",
]

FUSERS = {
    "_sequential_wrapper2.<locals>.fuser_method": "sequential",
    "fuse_conv_bn": "conv_bn",
    "fuse_conv_bn_relu": "conv_bn_relu",
    "fuse_convtranspose_bn": "conv_transpose_bn",
    "fuse_linear_bn": "linear_bn",
    "_fuse_linear_bn_leaky_relu": "linear_bn_leaky_relu",
    "_fuse_conv_add_left": "conv_add",
    "_fuse_conv_add_right": "conv_add",
    "_fuse_conv_bn_add_left": "conv_bn_add",
    "_fuse_conv_bn_add_right": "conv_bn_add",
    "_fuse_conv_add_relu_left": "conv_add_relu",
    "_fuse_conv_add_relu_right": "conv_add_relu",
    "_fuse_conv_bn_add_relu_left": "conv_bn_add_relu",
    "_fuse_conv_bn_add_relu_right": "conv_bn_add_relu",
}


def name(obj):
    """A pattern, class or function by name."""
    if isinstance(obj, (tuple, list)):
        return [name(x) for x in obj]
    if isinstance(obj, torch._ops.OpOverload):
        return f"torch.ops.{obj}"
    if isinstance(obj, int):
        return obj
    if obj is MatchAllNode:
        return "MatchAllNode"
    return public_name(obj)


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


class Label:
    """Stands for a node of a pattern; knows the way to it."""

    def __init__(self, path):
        self.path = path


def labels(pattern, path=()):
    if not isinstance(pattern, tuple):
        return Label(list(path))
    operands = [labels(p, (*path, i)) for i, p in enumerate(pattern[1:])]
    return (Label(list(path)), *operands)


def pattern_config(config):
    d = config.to_dict()
    out = {}
    for key in ["pattern", "pattern_complex_format"]:
        if key in d:
            out[key] = name(d.pop(key))
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
            out[key] = name(d.pop(key))
    if "fuser_method" in d:
        out["fuser_method"] = FUSERS[d.pop("fuser_method").__qualname__]
    nested = labels(config._pattern_complex_format)
    if "root_node_getter" in d:
        out["root_node"] = d.pop("root_node_getter")(nested).path
    if "extra_inputs_getter" in d:
        out["extra_inputs"] = [x.path for x in d.pop("extra_inputs_getter")(nested)]
    key = "num_tensor_args_to_observation_type"
    if key in d:
        out[key] = {str(n): o.name for n, o in d.pop(key).items()}
    key = "input_type_to_index"
    if key in d:
        out[key] = dict(d.pop(key))
    assert not d, d
    return out


def backend_config(config):
    return {"name": config.name, "configs": [pattern_config(c) for c in config.configs]}


def queries(config):
    """What the functions of `utils` answer. Patterns are in torch's reversed nested form; a mapping is a list
    of pairs in torch's order; of classes that torch gives as a set, the names are sorted."""
    both = lambda d, value: [[name(k), value(v)] for k, v in d.items()]  # noqa: E731
    node = lambda k, f: f(labels(k))  # noqa: E731
    roots = utils.get_fusion_pattern_to_root_node_getter(config)
    extra = utils.get_fusion_pattern_to_extra_inputs_getter(config)
    return {
        "pattern_to_dtype_configs": both(
            utils.get_pattern_to_dtype_configs(config), lambda cs: [dtype_config(c) for c in cs]
        ),
        "qat_module_classes": sorted(name(list(utils.get_qat_module_classes(config)))),
        "fused_module_classes": sorted(name(list(utils.get_fused_module_classes(config)))),
        "pattern_to_input_type_to_index": both(
            utils.get_pattern_to_input_type_to_index(config), dict
        ),
        "root_module_to_quantized_reference_module": both(
            utils.get_root_module_to_quantized_reference_module(config), name
        ),
        # the functions are wrapped; which they are, the configs say
        "fuser_method_mapping": name(list(utils.get_fuser_method_mapping(config))),
        "module_to_qat_module": both(utils.get_module_to_qat_module(config), name),
        "fusion_pattern_to_root_node_getter": [[name(k), node(k, f).path] for k, f in roots.items()],
        "fusion_pattern_to_extra_inputs_getter": [
            [name(k), [x.path for x in node(k, f)]] for k, f in extra.items()
        ],
    }


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


def readable(dump):
    dtypes = {}
    for e in dump["configs"]:
        for c in e["dtype_configs"]:
            dtypes.setdefault(json.dumps(c), f"D{len(dtypes)}")
    lists = {}
    for e in dump["configs"]:
        lists.setdefault(tuple(dtypes[json.dumps(c)] for c in e["dtype_configs"]), None)
    lines = [f"{dump['name']}: {len(dump['configs'])} entries, "
             f"{sum(len(e['dtype_configs']) for e in dump['configs'])} pairs", "", "dtype configs"]
    lines += [f"  {label}: {dtype_config_label(json.loads(c))}" for c, label in dtypes.items()]
    lines += ["", "lists in use"] + ["  [" + " ".join(x) + "]" for x in lists] + ["", "entries"]
    for i, e in enumerate(dump["configs"]):
        p = e.get("pattern", e.get("pattern_complex_format"))
        kind = "" if "pattern" in e else " (complex)"
        s = json.dumps(p).replace('"', "")
        lines.append(f"{i:3} {s}{kind}")
        lines.append(f"      {e['observation_type']}  ["
                     + " ".join(dtypes[json.dumps(c)] for c in e["dtype_configs"]) + "]")
        mods = [f"{short}={e[k]}" for short, k in [
            ("root", "root_module"), ("qat", "qat_module"),
            ("ref", "reference_quantized_module_for_root"), ("fused", "fused_module"),
            ("fuser", "fuser_method"), ("root_node", "root_node"), ("extra_inputs", "extra_inputs"),
            ("num_tensor_args", "num_tensor_args_to_observation_type"),
            ("input_index", "input_type_to_index")] if k in e]
        if mods:
            lines.append("      " + "  ".join(mods))
    return "\n".join(lines) + "\n"


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--out", type=pathlib.Path, default=root / "golden" / "backends")
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    answers = {}
    for backend in [args.backend] if args.backend else BACKENDS:
        config = BACKENDS[backend]()
        dump = backend_config(config)
        answers[backend] = queries(config)
        print(backend, dump["name"], len(dump["configs"]), "entries",
              sum(len(e["dtype_configs"]) for e in dump["configs"]), "pairs")
        if args.text:
            with args.text.open("a") as text:
                text.write(readable(dump))
        if not args.dry_run:
            args.out.mkdir(exist_ok=True)
            text = json.dumps(dump, indent=1) + "\n"
            (args.out / f"{backend}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    if args.dry_run or args.backend:
        return
    answers["torch"] = TORCH_VERSION
    text = json.dumps(answers) + "\n"
    (args.out / "queries.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
