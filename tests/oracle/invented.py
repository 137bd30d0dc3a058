"""Backend configs that nobody ships, for the tests of `qconfig import`.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy
    python tests/oracle/invented.py

dumps every config below with `cli/dump_backend_config.py`, as a user would, to
`tests/golden/invented/NAME.json`.
"""

import os
import pathlib
import subprocess
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.ao.nn.intrinsic as nni
import torch.ao.nn.qat as nnqat
import torch.ao.nn.quantized.reference as nnqr
import operator
from torch.ao.quantization import fuser_method_mappings as fusers
from torch.ao.quantization.backend_config import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    DTypeWithConstraints,
    ObservationType,
)
from torch.ao.quantization.backend_config import _common_operator_config_utils as common
from torch.ao.quantization.utils import MatchAllNode

SHARED = ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT
SEPARATE = ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT
NONE = ObservationType.INPUT_OUTPUT_NOT_OBSERVED

plain = DTypeConfig(torch.quint8, torch.quint8)
weighted = DTypeConfig(torch.quint8, torch.quint8, torch.qint8, torch.float)
signed = DTypeConfig(torch.qint8, torch.qint8, torch.qint8, torch.float)
dynamic = DTypeConfig(torch.quint8, torch.float, torch.qint8, torch.float, is_dynamic=True)
half = DTypeConfig(torch.float16, torch.float, torch.float16, torch.float, is_dynamic=True)


def one(pattern, *configs, observe=SEPARATE):
    return BackendPatternConfig(pattern).set_observation_type(observe).set_dtype_configs(list(configs))


def tree(pattern, *configs):
    return BackendPatternConfig()._set_pattern_complex_format(pattern).set_dtype_configs(list(configs))


def nested():
    """Trees: operands of any kind, roots and further inputs that a getter finds, constants' places."""
    conv_bn = (nn.BatchNorm2d, nn.Conv2d)
    left = (nn.ReLU, (operator.add, conv_bn, MatchAllNode))
    right = (F.relu, (torch.add, MatchAllNode, nn.Conv2d))
    return BackendConfig("nested").set_backend_pattern_configs([
        tree(left, weighted, signed)
        ._set_root_node_getter(lambda p: p[1][1][1])
        ._set_extra_inputs_getter(lambda p: [p[1][2]])
        .set_fuser_method(fusers.fuse_conv_bn),
        tree(right, weighted)
        ._set_root_node_getter(lambda p: p[1][2])
        ._set_extra_inputs_getter(lambda p: [p[1][1]])
        .set_fused_module(nni.ConvReLU2d),
        tree((operator.mul, MatchAllNode, (nn.Sigmoid, nn.Linear)), weighted),
        tree((nn.ReLU, (torch.cat, MatchAllNode, (nn.Tanh, nn.Linear), nn.Linear)), weighted, dynamic),
        tree((nn.Hardtanh, MatchAllNode), plain),
        tree((torch.matmul, (torch.transpose, MatchAllNode), MatchAllNode), plain),
        one(nn.Conv2d, weighted).set_root_module(nn.Conv2d),
    ])


def fixed():
    """Operators with parameters of their own, in groups and alone; one dtype fixed everywhere."""

    def at(dtype, scale, zero_point, low=None, high=None):
        return DTypeWithConstraints(dtype, low, high, scale_exact_match=scale, zero_point_exact_match=zero_point)

    def both(dtype):
        return DTypeConfig(dtype, dtype)

    unit = both(at(torch.quint8, 1 / 256, 0, 0, 255))
    symmetric = both(at(torch.quint8, 2 / 256, 128, 0, 255))
    signed_unit = both(at(torch.qint8, 1 / 256, -128))
    sixteenth = both(at(torch.qint8, 1 / 16, 0, -127, 127))
    signed_plain = both(torch.qint8)
    group = [one(op, unit, signed_plain) for op in [
        nn.Hardsigmoid, F.hardsigmoid, "hardsigmoid", "hardsigmoid_", nn.Sigmoid, torch.sigmoid, "sigmoid",
        "sigmoid_", nn.Softmax]]
    group += [one(op, symmetric, signed_plain) for op in [nn.Tanh, torch.tanh, "tanh", "tanh_"]]
    return BackendConfig("fixed").set_backend_pattern_configs([
        one(nn.ReLU, plain, observe=SHARED),
        *group,
        # a stated scale of 1/16 for everything else
        one(torch.add, sixteenth), one(torch.mul, sixteenth),
        one(nn.Linear, DTypeConfig(at(torch.qint8, 1 / 16, 0, -127, 127), at(torch.qint8, 1 / 16, 0, -127, 127),
                                   torch.qint8, torch.qint32)),
        one(nn.GELU, signed_unit),
        one(nn.SiLU, unit, signed_unit),
        # only what comes out is fixed
        one(nn.Softplus, DTypeConfig(torch.quint8, at(torch.quint8, 1 / 256, 0))),
    ])


def odd():
    """Bounds that few have: some without effect, some that PyTorch records and never looks at."""
    c = DTypeWithConstraints
    tiny = c(torch.qint8, scale_min_lower_bound=1e-7, scale_max_upper_bound=0.1)
    third = c(torch.quint8, 1, 254, scale_min_lower_bound=1 / 3)
    wide = c(torch.quint4x2, -127, 127)
    loud = c(torch.float, scale_min_lower_bound=2**-12)
    seven = c(torch.quint8, 0, 127)
    huge = c(torch.qint32, scale_max_upper_bound=3.0e30)
    return BackendConfig('odd "one" \\ \u00e4').set_backend_pattern_configs([
        one(nn.Linear, DTypeConfig(tiny, tiny, third, torch.float),
            DTypeConfig(third, third, c(torch.qint8, -63, 63), torch.bfloat16),
            DTypeConfig(third, third, c(torch.qint8, -31, 31))),
        one(nn.Embedding, DTypeConfig(torch.float, torch.float, wide),
            DTypeConfig(loud, torch.float, torch.quint4x2), observe=NONE),
        one(torch.add, DTypeConfig(seven, seven), DTypeConfig(torch.int8, torch.int32),
            DTypeConfig(torch.bfloat16, torch.bfloat16), DTypeConfig(torch.quint8, huge)),
        one(torch.sub, DTypeConfig(seven, torch.float), DTypeConfig(torch.float64, torch.float64)),
        one(nn.Conv1d, DTypeConfig(torch.float16, torch.float16, torch.float16, torch.float16)),
    ])


def accelerator():
    """PyTorch's own groups, with patterns left out and others that say something else."""
    conv = common._get_conv_configs([weighted, signed])
    linear = common._get_linear_configs([weighted, signed, dynamic, half])
    binary = common._get_binary_op_configs([plain])
    share = common._get_share_qparams_op_configs([plain])
    without = {nn.Conv3d, F.conv3d, nn.Linear, "detach_", nn.Identity}
    config = BackendConfig("accelerator")
    for found in [*conv, *linear, *binary, *share]:
        if found.pattern not in without:
            config.set_backend_pattern_config(found)
    # these stand where the group has them
    config.set_backend_pattern_config(one(nn.Conv2d, weighted).set_root_module(nn.Conv2d))
    config.set_backend_pattern_config(one(nn.MaxPool2d, plain))
    # and this behind all groups
    config.set_backend_pattern_config(
        one(nn.Linear, dynamic).set_root_module(nn.Linear).set_qat_module(nnqat.Linear)
        .set_reference_quantized_module(nnqr.Linear))
    return config


def several():
    """Dtype configs whose names would be the same, lists within lists, every way to observe."""
    c = DTypeWithConstraints
    narrow = DTypeConfig(torch.quint8, torch.quint8, c(torch.qint8, -127, 127), torch.float)
    no_bias = DTypeConfig(torch.quint8, torch.quint8, torch.qint8)
    unsigned = DTypeConfig(torch.quint8, torch.quint8, torch.quint8, torch.float)
    reduced = DTypeConfig(c(torch.quint8, 0, 127), c(torch.quint8, 0, 127), torch.qint8, torch.float)
    embed = DTypeConfig(torch.float, torch.float, torch.quint8)
    four = DTypeConfig(torch.float, torch.float, torch.quint4x2)
    weights = [weighted, narrow, no_bias, unsigned, reduced]
    by_args = BackendPatternConfig(torch.add).set_dtype_configs([plain])
    by_args._set_num_tensor_args_to_observation_type({0: NONE, 1: SHARED, 2: SEPARATE})
    return BackendConfig("several").set_backend_pattern_configs([
        one(nn.Conv2d, *weights).set_root_module(nn.Conv2d).set_reference_quantized_module(nnqr.Conv2d),
        one((nn.Conv2d, nn.ReLU), *weights).set_fused_module(nni.ConvReLU2d)
        .set_fuser_method(fusers._sequential_wrapper2(nni.ConvReLU2d)),
        one((nn.Conv2d, F.relu), *weights).set_fused_module(nni.ConvReLU2d)
        .set_fuser_method(fusers._sequential_wrapper2(nni.ConvReLU2d)),
        one(nn.Linear, *weights, dynamic, half),
        one(nn.LSTM, dynamic, half), one(nn.GRU, dynamic, half),
        one(F.linear, weighted)._set_input_type_to_index({"weight": 1, "bias": 2}),
        one(nn.EmbeddingBag, embed, four), one(nn.Embedding, four),
        by_args,
        one(nn.MaxPool2d, plain, observe=SHARED), one(nn.AvgPool2d, plain, observe=SHARED),
        one("reshape", plain, observe=NONE), one("view", plain, observe=NONE),
    ])


class Swish(nn.Module):
    """An operator that only its author has."""


def swish(x):
    return x * torch.sigmoid(x)


def own_operators():
    """A user's own module and function, alone and in a chain."""
    return BackendConfig("own operators").set_backend_pattern_configs([
        one(Swish, plain), one(swish, plain),
        one((nn.Conv2d, Swish), weighted),
        tree((swish, (torch.add, MatchAllNode, nn.Linear)), weighted),
    ])


def empty():
    """Nothing."""
    return BackendConfig("7 bits")


CONFIGS = [nested, fixed, odd, accelerator, several, own_operators, empty]


def main():
    assert torch.__version__.split("+")[0] == "2.8.0", torch.__version__
    here = pathlib.Path(__file__).resolve().parent
    out = here.parent / "golden" / "invented"
    out.mkdir(exist_ok=True)
    script = here.parent.parent / "cli" / "dump_backend_config.py"
    environment = {**os.environ, "PYTHONPATH": str(here)}
    for config in CONFIGS:
        command = [sys.executable, script, f"invented:{config.__name__}"]
        dumped = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout
        (out / f"{config.__name__}.json").write_bytes(dumped)
        print(config.__name__, len(dumped), "bytes")


if __name__ == "__main__":
    main()
