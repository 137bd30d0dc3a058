"""Public names of torch objects, shared by the scripts in this folder (not run by itself).

`public_name(obj)` is the shortest public dotted path under which the very same object can be
imported: `torch.nn.modules.conv.Conv2d` -> `torch.nn.Conv2d`, the builtin behind
`torch.conv2d` -> `torch.nn.functional.conv2d`. Strings (method names) stay as they are.
"""

import importlib
import operator

import torch

TORCH_VERSION = "2.8.0"
assert torch.__version__.split("+")[0] == TORCH_VERSION, torch.__version__
torch.set_num_threads(1)

# Searched in this order; the first that holds the object names it.
MODULES = [
    "torch.nn",
    "torch.nn.functional",
    "torch",
    "operator",
    "torch.ao.nn.intrinsic",
    "torch.ao.nn.intrinsic.qat",
    "torch.ao.nn.qat",
    "torch.ao.nn.qat.dynamic",
    "torch.ao.nn.quantized.reference",
    "torch.ao.nn.quantizable",
    "torch.ao.nn.quantized",
    "torch.ao.nn.quantized.dynamic",
    "torch.ao.quantization",
]


def _index():
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        # names that equal the object's own name first, then the others in alphabetical order
        items = sorted(
            vars(module).items(),
            key=lambda kv: (kv[0] != getattr(kv[1], "__name__", None), kv[0]),
        )
        for name, obj in items:
            if name.startswith("_") or not callable(obj):
                continue
            found.setdefault(id(obj), f"{module_name}.{name}")
    # `operator.__add__` and friends are the same objects as `operator.add`
    assert found[id(operator.add)] == "operator.add"
    return found


_NAMES = _index()


def public_name(obj):
    """A dotted path for a class or function; strings stay bare; tuples become lists."""
    if isinstance(obj, str):
        return obj
    if isinstance(obj, (tuple, list)):
        return [public_name(x) for x in obj]
    name = _NAMES.get(id(obj))
    if name is None:
        name = f"{obj.__module__}.{obj.__qualname__}"
    return name


def dtype_name(dtype):
    """`torch.quint8` -> `quint8`."""
    return str(dtype).removeprefix("torch.")
