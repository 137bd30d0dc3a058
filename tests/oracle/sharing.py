"""Record the parameters that torch's prepare, calibration and convert give every value of small networks in
which operators share observers.

    python tests/oracle/sharing.py

writes `tests/golden/sharing.npz`: `meta` is JSON, {"torch": .., "networks": {name: {value: [scale, zero
point]}}}; `x` and `y` hold the calibration samples, four of [1, 3, 4, 5] each. The networks are those of
tests/e2e/sharing.rs.
"""

import json
import pathlib
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.backend_config import get_qnnpack_backend_config
from torch.ao.quantization.quantize_fx import prepare_fx

TORCH_VERSION = "2.8.0"
assert torch.__version__.split("+")[0] == TORCH_VERSION, torch.__version__
torch.set_num_threads(1)
torch.backends.quantized.engine = "qnnpack"
warnings.filterwarnings("ignore")


def cat_of_two(x, y):
    a = F.hardswish(x)
    b = torch.relu(y)
    return torch.cat([a, y, b], 1)


def cat_then_stack(x, y):
    a = torch.cat([F.hardswish(x), F.leaky_relu(y, 0.1)], 2)
    b = F.relu6(a)
    return torch.stack([b, F.hardswish(a)], 0)


def sum_with_a_number(x, y):
    a = F.hardswish(x) + 0.75
    return F.leaky_relu(a, 0.1) * y


NETWORKS = [cat_of_two, cat_then_stack, sum_with_a_number]


def main():
    rng = np.random.RandomState(7)
    x = rng.randn(4, 1, 3, 4, 5).astype(np.float32)
    y = (rng.randn(4, 1, 3, 4, 5) * 3 + 1).astype(np.float32)
    networks = {}
    for network in NETWORKS:
        example = (torch.from_numpy(x[0]), torch.from_numpy(y[0]))
        prepared = prepare_fx(torch.fx.symbolic_trace(network), get_default_qconfig_mapping("qnnpack"), example,
                              backend_config=get_qnnpack_backend_config())
        for one, other in zip(x, y):
            prepared(torch.from_numpy(one), torch.from_numpy(other))
        found = {}
        for node in prepared.graph.nodes:
            if node.op == "call_module" and "activation_post_process" in node.target:
                s, z = getattr(prepared, node.target).calculate_qparams()
                found[node.args[0].name] = [float(s), int(z)]
        networks[network.__name__] = found
        print(network.__name__, found)
    meta = {"torch": TORCH_VERSION, "networks": networks}
    path = pathlib.Path(__file__).resolve().parents[1] / "golden" / "sharing.npz"
    np.savez_compressed(path, x=x.reshape(-1), y=y.reshape(-1),
                        meta=np.frombuffer(json.dumps(meta, separators=(",", ":")).encode(), np.uint8))


if __name__ == "__main__":
    main()
