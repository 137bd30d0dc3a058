"""Writes one of PyTorch's BackendConfigs, or one of your own, as JSON for `qconfig import`.

    python dump_backend_config.py qnnpack > qnnpack.json            # what get_qnnpack_backend_config() returns
    python dump_backend_config.py my_package.mine:CONFIG > mine.json  # an object, or a function that returns one
"""
import enum, importlib, json, re, sys
import torch, torch.ao.quantization.quantize_fx
from torch.ao.quantization import backend_config as bc, utils

HOMES = ("torch.nn torch.nn.functional torch operator torch.ao.nn.intrinsic torch.ao.nn.intrinsic.qat "
         "torch.ao.nn.qat torch.ao.nn.qat.dynamic torch.ao.nn.quantized.reference").split()
NAMES = {id(utils.MatchAllNode): "MatchAllNode"}  # public names of classes and functions, its own name first
for home in HOMES:
    members = vars(importlib.import_module(home)).items()
    for name, it in sorted(members, key=lambda m: (m[0] != getattr(m[1], "__name__", None), m[0])):
        if callable(it) and not name.startswith("_"):
            NAMES.setdefault(id(it), f"{home}.{name}")

def plain(it):
    if it is None or isinstance(it, (bool, int, float, str)): return it
    if isinstance(it, (list, tuple)): return [plain(part) for part in it]
    if isinstance(it, dict): return {str(key): plain(value) for key, value in it.items()}
    if isinstance(it, enum.Enum): return it.name
    if isinstance(it, torch.dtype): return str(it).removeprefix("torch.")
    if isinstance(it, torch._ops.OpOverload): return f"torch.ops.{it}"
    if isinstance(it, bc.DTypeWithConstraints): return plain({k: v for k, v in vars(it).items() if v is not None})
    return NAMES.get(id(it)) or f"{it.__module__}.{it.__qualname__}"

def paths(pattern, path=()):  # a nested pattern with, in place of each operator, the way to it
    return path if not isinstance(pattern, tuple) else (path, *(paths(p, (*path, i)) for i, p in enumerate(pattern[1:])))

def entry(config):
    found, nested = config.to_dict(), paths(config._pattern_complex_format)
    found["dtype_configs"] = [c.to_dict() for c in config.dtype_configs]
    for getter, key in [("root_node_getter", "root_node"), ("extra_inputs_getter", "extra_inputs")]:
        if getter in found: found[key] = found.pop(getter)(nested)
    if "fuser_method" in found:  # `_fuse_conv_bn_add_left` is conv_bn_add
        name = re.sub("^_?fuse_|_left$|_right$", "", found["fuser_method"].__qualname__)
        found["fuser_method"] = "sequential" if "sequential" in name else name.replace("convtr", "conv_tr")
    return plain(found)

module, _, name = sys.argv[1].rpartition(":")
path = f"torch.ao.quantization.backend_config.{sys.argv[1]}" if not module else module
config = getattr(importlib.import_module(path), name if module else f"get_{name}_backend_config")
config = config() if callable(config) else config
print(json.dumps({"name": config.name, "configs": [entry(c) for c in config.configs]}, indent=1))
