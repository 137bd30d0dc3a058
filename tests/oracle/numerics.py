"""Record what torch's quantized operators compute, for bit-exact comparison.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/numerics.py            # or: numerics.py FAMILY...

writes `tests/golden/numerics/FAMILY.npz`; tests/oracle/README.md describes the layout and each
family. Engine qnnpack, except `linear_dynamic_fp16` (engine fbgemm: qnnpack has no such operator).
Deterministic: one seed for each family. One packed weight is used for one call only, because torch
rebuilds QNNPACK's packed weights only when the input scale changes.

Every case is also computed here by the formula that the project promises (`expect`), in NumPy; a family
whose contract is "equal" fails if one element differs, and the number of differences is printed.
"""

import argparse
import json
import pathlib
import warnings
import zlib

import numpy as np
import torch
import torch.nn.functional as F

TORCH_VERSION = "2.8.0"
assert torch.__version__.split("+")[0] == TORCH_VERSION, torch.__version__
torch.set_num_threads(1)
warnings.filterwarnings("ignore")

f32 = np.float32
RANGE = {"quint8": (0, 255), "qint8": (-128, 127)}
NUMPY = {"quint8": np.uint8, "qint8": np.int8}
TORCH = {"quint8": torch.quint8, "qint8": torch.qint8}
OPS = torch.ops.quantized
# engines.py makes the families of one engine again under another
FORCED = [None]


# ---------------------------------------------------------------- writing

class Family:
    """Cases of one operator: flat arrays by name, and a list of descriptions."""

    def __init__(self, name, engine="qnnpack", **notes):
        self.name, self.notes, self.engine = name, notes, engine
        self.rng = np.random.RandomState(zlib.crc32(name.encode()))
        self.cases, self.flat, self.size = [], {}, {}
        self.different = self.elements = 0
        # what other engines than `engine` answer, where it is something else: (case, engine, values or None)
        self.others = []
        torch.backends.quantized.engine = FORCED[0] or engine

    def put(self, name, array):
        """Appends to the flat array `name`; returns [offset, shape]."""
        array = np.ascontiguousarray(array)
        parts = self.flat.setdefault(name, [])
        assert not parts or parts[0].dtype == array.dtype, (name, array.dtype)
        at = self.size.get(name, 0)
        parts.append(array.reshape(-1))
        self.size[name] = at + array.size
        return [at, list(array.shape)]

    def add(self, arrays, **meta):
        case = {k: self.put(k, v) for k, v in arrays.items() if v is not None}
        case.update({k: plain(v) for k, v in meta.items()})
        self.cases.append(case)

    def ask(self, call, *others):
        """What `call` gives, and notes what it gives under other engines; `None` where these refuse."""
        got = call()
        for engine in others:
            torch.backends.quantized.engine = engine
            try:
                other = call()
            except RuntimeError:
                other = None
            if other is None or other.shape != got.shape or not np.array_equal(other, got):
                self.others.append((len(self.cases), engine, other))
        torch.backends.quantized.engine = FORCED[0] or self.engine
        return got

    def check(self, got, want):
        assert got.shape == want.shape, (got.shape, want.shape)
        same = (got == want) | (np.isnan(got) & np.isnan(want)) if got.dtype.kind == "f" else got == want
        self.elements += got.size
        self.different += int(got.size - same.sum())

    def write(self, folder, exact=True):
        meta = {"torch": TORCH_VERSION, "engine": self.engine, "family": self.name,
                **self.notes, "cases": self.cases}
        arrays = {k: np.concatenate(v) for k, v in self.flat.items()}
        arrays["meta"] = np.frombuffer(json.dumps(meta, separators=(",", ":")).encode(), np.uint8)
        path = folder / f"{self.name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{self.name:24} {len(self.cases):4} cases {path.stat().st_size:8} bytes  "
              f"{self.different} of {self.elements} differ from the formula"
              + (f", {TIES[0]} ties" if TIES[0] else ""), flush=True)
        TIES[0] = 0
        if exact:
            assert self.different == 0, self.name


def plain(v):
    if isinstance(v, (np.floating, np.integer)):
        return v.item()
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    return v


# ---------------------------------------------------------------- random values

def integers(rng, dtype, shape):
    low, high = RANGE[dtype]
    return rng.randint(low, high + 1, size=shape).astype(NUMPY[dtype])


def zero_point(rng, dtype):
    low, high = RANGE[dtype]
    kind = rng.rand()
    if kind < 0.1:
        return low
    if kind < 0.2:
        return high
    if kind < 0.4:
        return (low + high + 1) // 2
    return int(rng.randint(low, high + 1))


def scale(rng, low=1e-4, high=1.0, ties=False):
    """A scale that a float32 holds exactly; one in six, or all where `ties`, a power of two."""
    if ties or rng.rand() < 1 / 6:
        return float(2.0 ** rng.randint(np.ceil(np.log2(low)), np.floor(np.log2(high)) + 1))
    return float(f32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def pick(rng, *values):
    return values[rng.randint(len(values))]


def quantized(array, s, z, dtype):
    return torch._make_per_tensor_quantized_tensor(
        torch.from_numpy(array), s, z) if array.size else None


def weight(rng, shape, per_channel, zero_points, low=-128, ties=False, bits=8):
    w = rng.randint(-3 if ties else low, 4 if ties else 128, size=shape).astype(np.int8)
    w = w >> (8 - bits)
    if per_channel:
        scales = np.array([scale(rng, 1e-3, 0.1, ties) for _ in range(shape[0])], f32)
        zps = np.zeros(shape[0], np.int32)
        q = torch._make_per_channel_quantized_tensor(
            torch.from_numpy(w), torch.from_numpy(scales).double(),
            torch.from_numpy(zps).long(), 0)
    else:
        scales = np.array([scale(rng, 1e-3, 0.1, ties)], f32)
        zps = np.array([rng.randint(-20, 21) if zero_points and rng.rand() < 0.25 else 0], np.int32)
        q = torch._make_per_tensor_quantized_tensor(
            torch.from_numpy(w), float(scales[0]), int(zps[0]))
    return w, scales, zps, q


def out_scale(rng, x_scale, w_scales, acc, ties):
    """An output scale under which most outputs do not saturate."""
    spread = max(float(np.std(acc)), 1.0) * x_scale * float(np.median(w_scales))
    s = spread * np.exp(rng.uniform(np.log(0.3), np.log(3))) / 40
    if ties or rng.rand() < 0.2:
        return float(2.0 ** np.round(np.log2(s)))
    return float(f32(s))


# ---------------------------------------------------------------- the promised formulas

TIES = [0]  # results half way between two integers, counted for the report


def rne(x):
    return np.rint(x)


def requantize_acc(acc, channel_axis, bias, x_scale, w_scales, y_scale, y_zero, dtype, relu):
    """Contract: acc i64 without bias."""
    n = acc.shape[channel_axis]
    ws = np.broadcast_to(w_scales.astype(f32), n)
    requant = (ws * f32(x_scale)) * (f32(1) / f32(y_scale))
    shape = [1] * acc.ndim
    shape[channel_axis] = n
    if bias is not None:
        b_scale = (ws.astype(np.float64) * np.float64(f32(x_scale))).astype(f32)
        acc = acc + rne(bias * (f32(1) / b_scale)).astype(np.int64).reshape(shape)
    assert np.abs(acc).max(initial=0) < 2**31
    real = acc.astype(np.int32).astype(f32) * requant.reshape(shape)
    TIES[0] += int((np.abs(real - np.trunc(real)) == 0.5).sum())
    y = rne(real).astype(np.int64) + y_zero
    low, high = RANGE[dtype]
    if relu:
        low = max(low, y_zero)
    return np.clip(y, low, high).astype(NUMPY[dtype])


def requantize_fbgemm(acc, channel_axis, bias, x_scale, w_scales, y_scale, y_zero, dtype, relu):
    """The contract of fbgemm, x86 and onednn."""
    n = acc.shape[channel_axis]
    step = np.broadcast_to(f32(x_scale) * w_scales.astype(f32), n)
    shape = [1] * acc.ndim
    shape[channel_axis] = n
    assert np.abs(acc).max(initial=0) < 2**31
    total = acc.astype(np.int32).astype(f32)
    if bias is not None:
        each = bias / step if len(w_scales) > 1 else bias * (1.0 / step.astype(np.float64)).astype(f32)
        total = total + each.astype(f32).reshape(shape)
    real = total * (step / f32(y_scale)).reshape(shape)
    TIES[0] += int((np.abs(real - np.trunc(real)) == 0.5).sum())
    low, high = RANGE[dtype]
    if relu:
        low = max(low, y_zero)
    return np.clip(rne(real).astype(np.int64) + y_zero, low, high).astype(NUMPY[dtype])


# Where the CPU has no dot-product instruction, FBGEMM and oneDNN add two products in 16 bits that saturate, and
# FBGEMM's depthwise kernels do everywhere. They do not with activations or weights of 7 bits: half of the cases
# each.
OTHERS = ("x86", "onednn")


def bits(engine, case):
    """Of activations and of weights."""
    return (8, 8) if engine == "qnnpack" else ((7, 8), (8, 7))[case // 2 % 2]


def quantize(x, s, z, dtype):
    low, high = RANGE[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        y = rne(np.clip(x * (f32(1) / f32(s)), f32(-2147483520.0), f32(2147483520.0)))
    return np.clip(y.astype(np.int64) + z, low, high).astype(NUMPY[dtype])


def dequantize(q, s, z):
    return f32(s) * (q.astype(np.int32) - z).astype(f32)


def choose_qparams(low, high, reduce_range, qmin=0, qmax=255):
    if reduce_range:
        qmin, qmax = int(qmin / 2), int(qmax / 2)
    low, high = min(f32(low), f32(0)), max(f32(high), f32(0))
    s = (np.float64(high) - np.float64(low)) / (qmax - qmin)
    with np.errstate(divide="ignore", over="ignore"):
        if f32(s) == 0 or np.isinf(f32(1) / f32(s)):
            s = np.float64(0.1)
    small = f32(6.1e-5)
    if s < small:
        org = s
        s = np.float64(small)
        if low == 0:
            high = f32(small * f32(qmax - qmin))
        elif high == 0:
            low = f32(-small * f32(qmax - qmin))
        else:
            amplifier = f32(np.float64(small) / org)
            low, high = f32(low * amplifier), f32(high * amplifier)
    from_min = qmin - np.float64(low) / s
    from_max = qmax - np.float64(high) / s
    err_min = abs(qmin) + abs(np.float64(low) / s)
    err_max = abs(qmax) + abs(np.float64(high) / s)
    z = from_min if err_min < err_max else from_max
    return float(s), int(np.clip(np.rint(z), qmin, qmax))


# ---------------------------------------------------------------- linear and convolution

def linear(dtype, cases, engine="qnnpack"):
    name = f"linear_{dtype}" if engine == "qnnpack" else f"linear_{engine}"
    fam = Family(name, engine=engine, op="linear", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        per_channel = dtype == "quint8" and i % 2 == 1
        relu, ties = rng.rand() < 0.35, rng.rand() < 0.2
        m = pick(rng, 1, 1, 2, 3, 4, 5, 7, 8, 9, int(rng.randint(1, 20)))
        k = int(rng.randint(1, 70)) if rng.rand() < 0.85 else int(rng.randint(70, 400))
        n = int(rng.randint(1, 40)) if k < 100 else int(rng.randint(1, 18))
        x_bits, w_bits = bits(engine, i)
        per_channel = per_channel and (engine == "qnnpack" or n > 1)
        xs, xz = scale(rng, 1e-3, 0.2, ties), zero_point(rng, dtype) >> (8 - x_bits)
        x = integers(rng, dtype, (m, k)) >> (8 - x_bits)
        # XNNPACK's qint8 weights are symmetric
        w, ws, wz, qw = weight(rng, (n, k), per_channel, dtype == "quint8",
                               -128 if dtype == "quint8" else -127, ties, w_bits)
        acc = (x.astype(np.int64) - xz) @ (w.astype(np.int64) - wz[0]).T
        bias = None
        if rng.rand() < 0.85:
            bias = (rng.randn(n) * max(np.std(acc), 1) * xs * float(ws.mean())).astype(f32)
        ys, yz = out_scale(rng, xs, ws, acc, ties), zero_point(rng, dtype)
        if relu and dtype == "qint8" and yz == 127:
            yz = 126  # XNNPACK refuses an empty output range
        op = OPS.linear_relu if relu else OPS.linear

        def call():
            packed = OPS.linear_prepack(qw, None if bias is None else torch.from_numpy(bias))
            return op(quantized(x, xs, xz, dtype), packed, ys, yz).int_repr().numpy()

        y = fam.ask(call, *(OTHERS if engine == "fbgemm" else ()))
        formula = requantize_acc if engine == "qnnpack" else requantize_fbgemm
        fam.check(y, formula(acc, 1, bias, xs, ws, ys, yz, dtype, relu))
        fam.add(dict(x=x, w=w, w_scales=ws, w_zero_points=wz, bias=bias, y=y),
                x_scale=xs, x_zero_point=xz, y_scale=ys, y_zero_point=yz, relu=relu,
                per_channel=per_channel)
    return fam


def conv(dim, dtype, cases, engine="qnnpack"):
    name = f"conv{dim}d_{dtype}" if engine == "qnnpack" else f"conv{dim}d_{engine}"
    fam = Family(name, engine=engine, op=f"conv{dim}d", dtype=dtype)
    rng = fam.rng
    kinds = ["general", "pointwise", "depthwise", "grouped", "strided", "dilated"]
    while len(fam.cases) < cases:
        i = len(fam.cases)
        kind = kinds[i % len(kinds)]
        per_channel = (i // len(kinds)) % 2 == 1
        relu, ties = rng.rand() < 0.35, rng.rand() < 0.2
        batch = pick(rng, 1, 1, 2)
        groups, cin, cout = 1, int(rng.randint(1, 14)), int(rng.randint(1, 14))
        kernel = [int(rng.randint(1, 5)) for _ in range(dim)]
        stride, dilation = [1] * dim, [1] * dim
        if kind == "pointwise":
            kernel, cin, cout = [1] * dim, int(rng.randint(1, 40)), int(rng.randint(1, 20))
            stride = [pick(rng, 1, 1, 2) for _ in range(dim)]
        elif kind == "depthwise":
            groups = cin = cout = int(rng.randint(2, 36))
            kernel = pick(rng, [3] * dim, [3] * dim, [5] * dim, [int(rng.randint(1, 6)) for _ in range(dim)])
            stride = [pick(rng, 1, 2)] * dim
            dilation = [pick(rng, 1, 1, 2)] * dim
        elif kind == "grouped":
            groups = int(rng.randint(2, 5))
            cin, cout = groups * int(rng.randint(1, 6)), groups * int(rng.randint(1, 6))
        elif kind == "strided":
            stride = [int(rng.randint(1, 4)) for _ in range(dim)]
        elif kind == "dilated":
            dilation = [int(rng.randint(1, 4)) for _ in range(dim)]
        if kind != "depthwise" and rng.rand() < 0.3:
            stride = [int(rng.randint(1, 3)) for _ in range(dim)]
        padding = [int(rng.randint(0, (k - 1) * d + 1)) for k, d in zip(kernel, dilation)]
        extra = (1, 10) if dim == 1 else (0, 6)
        size = [max(1, (k - 1) * d + 1 - 2 * p) + int(rng.randint(*extra))
                for k, d, p in zip(kernel, dilation, padding)]
        x_bits, w_bits = bits(engine, i)
        per_channel = per_channel and (engine == "qnnpack" or cout > 1)
        xs, xz = scale(rng, 1e-3, 0.2, ties), zero_point(rng, dtype) >> (8 - x_bits)
        x = integers(rng, dtype, (batch, cin, *size)) >> (8 - x_bits)
        w, ws, wz, qw = weight(rng, (cout, cin // groups, *kernel), per_channel,
                               dtype == "quint8", -128 if dtype == "quint8" else -127, ties, w_bits)
        fconv = F.conv2d if dim == 2 else F.conv1d
        acc = fconv(torch.from_numpy(x).double() - xz, torch.from_numpy(w).double() - int(wz[0]), None,
                    stride, padding, dilation, groups).numpy().astype(np.int64)
        bias = None
        if rng.rand() < 0.85:
            bias = (rng.randn(cout) * max(np.std(acc), 1) * xs * float(ws.mean())).astype(f32)
        ys, yz = out_scale(rng, xs, ws, acc, ties), zero_point(rng, dtype)
        if relu and dtype == "qint8" and yz == 127:
            yz = 126  # XNNPACK refuses an empty output range
        tb = None if bias is None else torch.from_numpy(bias)
        prepack = OPS.conv2d_prepack if dim == 2 else OPS.conv1d_prepack
        op = getattr(OPS, f"conv{dim}d_relu" if relu else f"conv{dim}d")

        def call():
            packed = prepack(qw, tb, stride, padding, dilation, groups)
            return op(quantized(x, xs, xz, dtype), packed, ys, yz).contiguous().int_repr().numpy()

        y = fam.ask(call, *(OTHERS if engine == "fbgemm" else ()))
        formula = requantize_acc if engine == "qnnpack" else requantize_fbgemm
        fam.check(y, formula(acc, 1, bias, xs, ws, ys, yz, dtype, relu))
        fam.add(dict(x=x, w=w, w_scales=ws, w_zero_points=wz, bias=bias, y=y),
                kind=kind, stride=stride, padding=padding, dilation=dilation, groups=groups,
                x_scale=xs, x_zero_point=xz, y_scale=ys, y_zero_point=yz, relu=relu,
                per_channel=per_channel)
    return fam


# ---------------------------------------------------------------- add

def add_formula(a, sa, za, b, sb, zb, so, zo, dtype, relu):
    ao, bo = f32(sa) / f32(so), f32(sb) / f32(so)
    exponent = int(np.floor(np.log2(np.float64(max(ao, bo)))))
    shift = (21 if dtype == "quint8" else 20) - exponent
    am = int(np.rint(np.float64(ao) * 2.0**shift))
    bm = int(np.rint(np.float64(bo) * 2.0**shift))
    acc = am * (a.astype(np.int64) - za) + bm * (b.astype(np.int64) - zb)
    TIES[0] += int(((acc & ((1 << shift) - 1)) == 1 << (shift - 1)).sum())
    if dtype == "quint8":
        mask = (1 << shift) - 1
        remainder = (acc & mask) - (acc < 0)
        y = (acc >> shift) + (remainder > (mask >> 1))
    else:
        y = (acc + (1 << (shift - 1))) >> shift
    low, high = RANGE[dtype]
    if relu:
        low = max(low, zo)
    return np.clip(y + zo, low, high).astype(NUMPY[dtype])


def add(dtype, cases):
    fam = Family(f"add_{dtype}", op="add", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        relu = i % 3 == 2
        shape = pick(rng, (int(rng.randint(1, 200)),), (1, int(rng.randint(1, 9)), 5, 7),
                     (2, int(rng.randint(1, 20)), int(rng.randint(1, 5))),
                     (1, int(rng.randint(1, 9)), int(rng.randint(1, 6)), int(rng.randint(1, 6))))
        ties = i % 4 == 1
        sa, sb = scale(rng, 1e-3, 1, ties), scale(rng, 1e-3, 1, ties)
        if i % 5 == 0:
            sb = sa
        so = float(f32(max(sa, sb) * np.exp(rng.uniform(np.log(0.3), np.log(4)))))
        if ties or rng.rand() < 0.2:
            so = float(2.0 ** np.round(np.log2(so)))
        if i % 7 == 0:
            so = max(sa, sb)
        ratio_low = 2.0**-13 if dtype == "quint8" else 2.0**-9
        if min(sa, sb) / so < ratio_low:
            so = float(f32(min(sa, sb) / ratio_low))
        za, zb, zo = (zero_point(rng, dtype) for _ in range(3))
        if relu and zo == RANGE[dtype][1]:
            zo -= 1  # QNNPACK refuses an empty output range
        a, b = integers(rng, dtype, shape), integers(rng, dtype, shape)
        op = OPS.add_relu if relu else OPS.add
        y = op(quantized(a, sa, za, dtype), quantized(b, sb, zb, dtype), so, zo).int_repr().numpy()
        fam.check(y, add_formula(a, sa, za, b, sb, zb, so, zo, dtype, relu))
        fam.add(dict(a=a, b=b, y=y), a_scale=sa, a_zero_point=za, b_scale=sb, b_zero_point=zb,
                y_scale=so, y_zero_point=zo, relu=relu)
    return fam


# ---------------------------------------------------------------- pooling

def max_pool(dim, dtype, cases):
    fam = Family(f"max_pool{dim}d_{dtype}", op=f"max_pool{dim}d", dtype=dtype)
    rng = fam.rng
    while len(fam.cases) < cases:
        kernel = [int(rng.randint(1, 5)) for _ in range(dim)]
        if max(kernel) == 1:
            continue  # refused by QNNPACK
        stride = [int(rng.randint(1, 4)) for _ in range(dim)]
        dilation = [pick(rng, 1, 1, 1, 2)] * dim
        padding = [int(rng.randint(0, k // 2 + 1)) for k in kernel]
        size = [max(1, (k - 1) * d + 1 - 2 * p) + int(rng.randint(0, 6))
                for k, d, p in zip(kernel, dilation, padding)]
        ceil_mode = len(fam.cases) % 10 == 9
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 20)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        op = F.max_pool2d if dim == 2 else F.max_pool1d
        want = op(torch.from_numpy(x).double(), kernel, stride, padding, dilation, ceil_mode)
        if want.numel() == 0 or want.isinf().any():
            continue  # isinf: a window that lies in the padding only
        if dtype == "quint8" and max(padding) > 0 and max(dilation) > 1:
            continue  # wrong in QNNPACK: it repeats border cells that a dilated window does not hold
        if max(size) == 1:
            continue  # wrong in torch: it mixes up the layouts of a 1 x 1 image
        y = op(quantized(x, s, z, dtype), kernel, stride, padding, dilation, ceil_mode)
        y = y.contiguous().int_repr().numpy()
        fam.check(y, want.numpy().astype(NUMPY[dtype]))
        fam.add(dict(x=x, y=y), kernel=kernel, stride=stride, padding=padding, dilation=dilation,
                ceil_mode=ceil_mode, x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


def mean_formula(centred_sum, count, s, z, dtype):
    """`s` is the scale of both sides; the ratio is formed as input scale / (output scale * count)."""
    requant = f32(s) / (f32(s) * f32(count))
    low, high = RANGE[dtype]
    real = centred_sum.astype(np.int32).astype(f32) * requant
    TIES[0] += int((np.abs(real - np.trunc(real)) == 0.5).sum())
    y = rne(real).astype(np.int64) + z
    return np.clip(y, low, high).astype(NUMPY[dtype])


def avg_pool(cases):
    dtype = "quint8"
    fam = Family("avg_pool2d_quint8", op="avg_pool2d", dtype=dtype, count_include_pad=True)
    rng = fam.rng
    while len(fam.cases) < cases:
        kernel = [int(rng.randint(1, 5)) for _ in range(2)]
        if kernel == [1, 1]:
            continue  # not QNNPACK's
        stride = [int(rng.randint(1, 4)) for _ in range(2)]
        padding = [int(rng.randint(0, k // 2 + 1)) for k in kernel]
        size = [max(1, k - 2 * p) + int(rng.randint(0, 6)) for k, p in zip(kernel, padding)]
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 20)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        total = F.avg_pool2d(torch.from_numpy(x).double() - z, kernel, stride, padding, False, True, 1)
        y = F.avg_pool2d(quantized(x, s, z, dtype), kernel, stride, padding, False, True)
        y = y.contiguous().int_repr().numpy()
        fam.check(y, mean_formula(total.numpy(), kernel[0] * kernel[1], s, z, dtype))
        fam.add(dict(x=x, y=y), kernel=kernel, stride=stride, padding=padding,
                x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


def global_avg_pool(name, cases):
    dtype = "quint8"
    fam = Family(f"{name}_quint8", op=name, dtype=dtype)
    rng = fam.rng
    for _ in range(cases):
        x = integers(rng, dtype, (pick(rng, 1, 2, 3), int(rng.randint(1, 24)),
                                  int(rng.randint(1, 9)), int(rng.randint(1, 9))))
        s, z = scale(rng), zero_point(rng, dtype)
        q = quantized(x, s, z, dtype)
        if name == "adaptive_avg_pool2d":
            y = F.adaptive_avg_pool2d(q, 1)
        else:
            y = torch.mean(q, (2, 3))
        total = x.astype(np.int64).sum((2, 3)) - z * x.shape[2] * x.shape[3]
        got = y.contiguous().int_repr().numpy()
        want = mean_formula(total, x.shape[2] * x.shape[3], s, z, dtype)
        fam.check(got, want.reshape(got.shape))
        assert (y.q_scale(), y.q_zero_point()) == (s, z)
        fam.add(dict(x=x, y=got), x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


# ---------------------------------------------------------------- element-wise

def clamp(dtype, cases):
    fam = Family(f"clamp_{dtype}", op="clamp", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        kind = ["relu", "clamp", "relu6", "hardtanh"][i % 4]
        x = integers(rng, dtype, pick(rng, (int(rng.randint(1, 300)),), (1, int(rng.randint(1, 9)), 5, 5)))
        s, z = scale(rng, 1e-3, 0.3), zero_point(rng, dtype)
        q = quantized(x, s, z, dtype)
        qmin, qmax = RANGE[dtype]
        if kind == "relu":
            low, high, y = 0.0, None, torch.relu(q)
        elif kind == "relu6":
            low, high, y = 0.0, 6.0, F.relu6(q)
        else:
            low, high = sorted(float(f32(v)) for v in rng.uniform(s * (qmin - z), s * (qmax - z), 2))
            y = torch.clamp(q, low, high) if kind == "clamp" else F.hardtanh(q, low, high)
        y = y.int_repr().numpy()
        bound_low = int(quantize(np.array([low], f32), s, z, dtype)[0])
        bound_high = qmax if high is None else int(quantize(np.array([high], f32), s, z, dtype)[0])
        fam.check(y, np.clip(x, bound_low, bound_high).astype(x.dtype))
        fam.add(dict(x=x, y=y), kind=kind, low=low, high=high, x_scale=s, x_zero_point=z,
                y_scale=s, y_zero_point=z)
    return fam


def floats(rng, shape, s, z, spread=200):
    """Values around the quantized range, some on ties, some far out.

    Beyond 2^31 steps torch saturates before it adds the zero point in 32 bits, so that the sum wraps to the
    wrong end: upwards where z > 127, downwards where z < 0. Such values are left out.
    """
    x = (rng.randn(*shape) * s * spread).astype(f32)
    flat = x.reshape(-1)
    ties = rng.rand(flat.size) < 0.2
    flat[ties] = ((rng.randint(-300, 300, ties.sum()) + 0.5) * s).astype(f32)
    far = rng.rand(flat.size) < 0.02
    flat[far] = rng.choice(np.array([1e10, -1e10, 3e38, -3e38, np.inf, -np.inf, 0.0, -0.0, 1e-40], f32), far.sum())
    if z > 127:
        flat[flat > 1e9 * s] = f32(1e9 * s)
    if z < 0:
        flat[flat < -1e9 * s] = f32(-1e9 * s)
    return x


def quantize_per_tensor(dtype, cases):
    fam = Family(f"quantize_{dtype}", op="quantize_per_tensor", dtype=dtype)
    rng = fam.rng
    for _ in range(cases):
        s, z = scale(rng, 1e-5, 10), zero_point(rng, dtype)
        x = floats(rng, (int(rng.randint(1, 120)),), s, z)
        y = torch.quantize_per_tensor(torch.from_numpy(x), s, z, TORCH[dtype]).int_repr().numpy()
        fam.check(y, quantize(x, s, z, dtype))
        fam.add(dict(x=x, y=y), y_scale=s, y_zero_point=z)
    return fam


def quantize_per_channel(cases):
    dtype = "qint8"
    fam = Family("quantize_per_channel_qint8", op="quantize_per_channel", dtype=dtype, axis=0)
    rng = fam.rng
    for _ in range(cases):
        c = int(rng.randint(1, 8))
        scales = np.array([scale(rng, 1e-5, 1) for _ in range(c)], f32)
        zps = np.zeros(c, np.int32)
        x = np.stack([floats(rng, (n,), s, 0, 60) for s, n in zip(scales, [int(rng.randint(1, 30))] * c)])
        x[~np.isfinite(x)] = 0
        x = np.clip(x, f32(-1e4), f32(1e4))
        y = torch.quantize_per_channel(torch.from_numpy(x), torch.from_numpy(scales).double(),
                                       torch.from_numpy(zps).long(), 0, torch.qint8).int_repr().numpy()
        fam.check(y, np.stack([quantize(r, s, 0, dtype) for r, s in zip(x, scales)]))
        fam.add(dict(x=x, scales=scales, zero_points=zps, y=y))
    return fam


def dequantize_family(dtype, cases):
    fam = Family(f"dequantize_{dtype}", op="dequantize", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        s, z = scale(rng, 1e-6, 100), zero_point(rng, dtype)
        low, high = RANGE[dtype]
        x = (np.arange(low, high + 1).astype(NUMPY[dtype]) if i < 8
             else integers(rng, dtype, (int(rng.randint(1, 90)),)))
        y = quantized(x, s, z, dtype).dequantize().numpy()
        fam.check(y, dequantize(x, s, z))
        fam.add(dict(x=x, y=y), x_scale=s, x_zero_point=z)
    return fam


def requantize(dtype_in, dtype_out, cases):
    fam = Family(f"requantize_{dtype_in}_{dtype_out}", op="requantize", dtype=dtype_in, dtype_out=dtype_out)
    rng = fam.rng
    for _ in range(cases):
        s, z = scale(rng, 1e-3, 1), zero_point(rng, dtype_in)
        so = s if rng.rand() < 0.15 else float(f32(s * np.exp(rng.uniform(np.log(0.2), np.log(5)))))
        zo = zero_point(rng, dtype_out)
        x = integers(rng, dtype_in, (int(rng.randint(1, 150)),))
        y = torch.quantize_per_tensor(
            quantized(x, s, z, dtype_in).dequantize(), so, zo, TORCH[dtype_out]).int_repr().numpy()
        fam.check(y, quantize(dequantize(x, s, z), so, zo, dtype_out))
        fam.add(dict(x=x, y=y), x_scale=s, x_zero_point=z, y_scale=so, y_zero_point=zo)
    return fam


# ---------------------------------------------------------------- dynamic

def choose_qparams_family(cases):
    # under engine qnnpack torch ignores reduce_range here as well
    fam = Family("choose_qparams", engine="fbgemm", op="choose_qparams", dtype="quint8")
    rng = fam.rng
    for i in range(cases):
        n = int(rng.randint(1, 40))
        x = (rng.randn(n) * np.exp(rng.uniform(-12, 8))).astype(f32)
        if i % 8 == 1:
            x = np.abs(x)
        if i % 8 == 2:
            x = -np.abs(x)
        if i % 8 == 3:
            x = (x + f32(rng.uniform(-3, 3)) * np.abs(x).max()).astype(f32)
        if i % 40 == 4:
            x = np.zeros(n, f32)
        if i % 20 == 5:
            x = (x * f32(1e-30)).astype(f32)
        if i % 20 == 6:
            x = (x / np.abs(x).max() * f32(3e37)).astype(f32)
        if i % 40 == 7:
            x = (np.ones(n) * 1e-42).astype(f32)
        reduce_range = i % 2 == 1
        s, z = torch._choose_qparams_per_tensor(torch.from_numpy(x), reduce_range)
        s, z = float(s), int(z)
        want = choose_qparams(x.min(), x.max(), reduce_range)
        fam.check(np.array([s, z]), np.array(want, np.float64))
        fam.add(dict(x=x), reduce_range=reduce_range, y_scale=s, y_zero_point=z)
    return fam


def linear_dynamic(cases, engine="qnnpack"):
    """Under fbgemm one fused multiply-add behind the sum, and `reduce_range` is honoured: half of the cases have
    it; the others have weights of 7 bits."""
    name = "linear_dynamic" if engine == "qnnpack" else f"linear_dynamic_{engine}"
    fam = Family(name, engine=engine, op="linear_dynamic", dtype="quint8",
                 **(dict(reduce_range=False) if engine == "qnnpack" else {}))
    rng = fam.rng
    for i in range(cases):
        per_channel, relu = i % 2 == 1, rng.rand() < 0.3
        m = pick(rng, 1, 1, 2, 3, 5, 8, int(rng.randint(1, 12)))
        k = int(rng.randint(1, 60)) if rng.rand() < 0.85 else int(rng.randint(60, 300))
        n = int(rng.randint(1, 30)) if k < 100 else int(rng.randint(1, 14))
        x = (rng.randn(m, k) * np.exp(rng.uniform(-3, 3))).astype(f32)
        if i % 6 == 1:
            x = np.abs(x)
        if i % 6 == 2:
            x = -np.abs(x)
        if i % 50 == 3:
            x = np.zeros_like(x)
        x_bits, w_bits = bits(engine, i)
        reduce_range = x_bits == 7
        per_channel = per_channel and (engine == "qnnpack" or n > 1)
        w, ws, wz, qw = weight(rng, (n, k), per_channel, True, bits=w_bits)
        bias = (rng.randn(n) * np.abs(x).max() * 0.5).astype(f32) if rng.rand() < 0.85 else None
        op = OPS.linear_relu_dynamic if relu else OPS.linear_dynamic

        def call():
            packed = OPS.linear_prepack(qw, None if bias is None else torch.from_numpy(bias))
            return op(torch.from_numpy(x), packed, reduce_range).numpy()

        y = fam.ask(call, *(OTHERS if engine == "fbgemm" else ()))
        s, z = choose_qparams(x.min(), x.max(), reduce_range)
        acc = (quantize(x, s, z, "quint8").astype(np.int64) - z) @ (w.astype(np.int64) - wz[0]).T
        want = acc.astype(np.int32).astype(f32)
        step = f32(s) * ws
        if engine == "fbgemm" and bias is not None:
            want = fused(want, np.broadcast_to(step, n)[None], bias[None])
        else:
            want = want * step
            if bias is not None:
                want = want + bias
        if relu:
            want = np.maximum(want, f32(0))
        fam.check(y, want)
        fam.add(dict(x=x, w=w, w_scales=ws, w_zero_points=wz, bias=bias, y=y), relu=relu,
                per_channel=per_channel, **({} if engine == "qnnpack" else dict(reduce_range=reduce_range)))
    return fam


def fused(a, b, c):
    """`a * b + c` of float32 values, rounded once: by way of a sum rounded to odd in f64."""
    p, c = a.astype(np.float64) * b.astype(np.float64), np.asarray(c, np.float64)
    s = p + c
    t = s - p
    err = (p - (s - t)) + (c - t)  # exact error of the sum
    raw = s.view(np.int64)
    toward = np.where((err > 0) == (s > 0), 1, -1)
    return np.where((err != 0) & ((raw & 1) == 0), raw + toward, raw).view(np.float64).astype(f32)


def fma_chain(x, w):
    """acc = fma(x[k], w[k], acc) in f32 over k in order. `w` holds float16 values.

    A product has 24 + 11 bits and is exact in f64; the sum is rounded to odd before it is rounded to f32,
    so that rounding twice gives the same as rounding once.
    """
    acc = np.zeros((x.shape[0], w.shape[0]), f32)
    for k in range(x.shape[1]):
        p = x[:, k, None].astype(np.float64) * w[None, :, k].astype(np.float64)
        a = acc.astype(np.float64)
        s = p + a
        t = s - p
        err = (p - (s - t)) + (a - t)  # exact error of the sum
        bits = s.view(np.int64)
        odd = (bits & 1) == 1
        toward = np.where((err > 0) == (s > 0), 1, -1)
        fixed = np.where((err != 0) & ~odd, bits + toward, bits).view(np.float64)
        # bits + 1 has an odd last bit; bits - 1 too: either is the round-to-odd neighbour
        acc = fixed.astype(f32)
    return acc


def linear_dynamic_fp16(cases):
    fam = Family("linear_dynamic_fp16", engine="fbgemm", op="linear_dynamic_fp16", dtype="float16",
                 exact="made on AVX2: equal to the chain where row < full_rows and column < full_columns")
    rng = fam.rng
    other_different = other = 0
    for i in range(cases):
        relu = rng.rand() < 0.3
        m = pick(rng, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8)
        k = int(rng.randint(1, 40)) if i % 20 else int(rng.randint(513, 600))
        n = pick(rng, 16, 16, 32, 17, 20, int(rng.randint(1, 36)))
        if k > 500:
            m, n = 3, pick(rng, 16, 18)
        x = rng.randn(m, k).astype(f32)
        w = (rng.randn(n, k) * np.exp(rng.uniform(-3, 1))).astype(f32)
        if i % 8 == 0:  # fp16 subnormals
            w = (w * f32(1e-6)).astype(f32)
        if i % 16 == 1:  # beyond fp16
            w.reshape(-1)[rng.randint(w.size)] = pick(rng, 1e5, -1e5)
        bias = rng.randn(n).astype(f32) if rng.rand() < 0.85 else None
        packed = OPS.linear_prepack_fp16(
            torch.from_numpy(w), None if bias is None else torch.from_numpy(bias))
        op = OPS.linear_relu_dynamic_fp16 if relu else OPS.linear_dynamic_fp16
        y = op(torch.from_numpy(x), packed).numpy()
        want = fma_chain(x, np.clip(w, f32(-65504), f32(65504)).astype(np.float16))
        if bias is not None:
            want = want + bias
        if relu:
            want = np.maximum(want, f32(0))
        full = n // 16 * 16
        # groups of one or two rows have kernels with several accumulators
        rows = {1: 0, 2: 0, 7: 5}.get(m, m)
        fam.check(y[:rows, :full], want[:rows, :full])
        rest = (y != want)
        rest[:rows, :full] = False
        other_different += int(rest.sum())
        other += y.size - rows * full
        fam.add(dict(x=x, w=w, bias=bias, y=y), relu=relu, full_rows=rows, full_columns=full)
    print(f"  other elements: {other_different} of {other} differ from the chain")
    return fam


def mul(dtype, cases):
    fam = Family(f"mul_{dtype}", op="mul", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        relu = i % 3 == 2
        n, c, h, w = (int(rng.randint(1, m)) for m in (3, 20, 6, 6))
        a_shape, b_shape = pick(rng, ((n, c, h, w),) * 2, ((n, c, h, w), (n, c, 1, 1)), ((n, c, h, w), (w,)),
                                ((n, c * h * w),) * 2, ((n, 1, h, w), (c, 1, 1)), ((n, c, h, w), (1,)))
        ties = rng.rand() < 0.2
        sa, sb = scale(rng, 1e-3, 0.2, ties), scale(rng, 1e-3, 0.2, ties)
        za, zb, zo = (zero_point(rng, dtype) for _ in range(3))
        if dtype == "qint8":
            zo = min(zo, 126)  # at 127 torch takes ATen's form in place of XNNPACK's
        a, b = integers(rng, dtype, a_shape), integers(rng, dtype, b_shape)
        product = (a.astype(np.int32) - za) * (b.astype(np.int32) - zb)
        so = out_scale(rng, sa, np.array([sb]), product, ties)
        if dtype == "qint8":  # XNNPACK's range
            so = float(f32(min(max(so, sa * sb / 250), sa * sb * 2**15)))
        op = OPS.mul_relu if relu else OPS.mul
        y = op(quantized(a, sa, za, dtype), quantized(b, sb, zb, dtype), so, zo).int_repr().numpy()
        multiplier = f32(sa) * f32(sb)
        multiplier = multiplier * (f32(1) / f32(so)) if dtype == "quint8" else multiplier / f32(so)
        real = product.astype(f32) * multiplier
        TIES[0] += int((np.abs(real - np.trunc(real)) == 0.5).sum())
        low, high = RANGE[dtype]
        want = np.clip(rne(real).astype(np.int64) + zo, zo if relu else low, high).astype(NUMPY[dtype])
        fam.check(y, want)
        fam.add(dict(a=a, b=b, y=y), a_scale=sa, a_zero_point=za, b_scale=sb, b_zero_point=zb,
                y_scale=so, y_zero_point=zo, relu=relu)
    return fam


def matmul(dtype, cases):
    """torch multiplies what the operands stand for, in floats; the sum of integers is what that is rounded from."""
    fam = Family(f"matmul_{dtype}", op="matmul", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        m, k, n = int(rng.randint(1, 9)), int(rng.randint(1, 50)), int(rng.randint(1, 12))
        a_batch, b_batch = pick(rng, ((), ()), ((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((3,), ()))
        sa, sb = scale(rng, 1e-3, 0.2), scale(rng, 1e-3, 0.2)
        za, zb, zo = (zero_point(rng, dtype) for _ in range(3))
        a_shape, b_shape = (*a_batch, m, k), (*b_batch, k, n)
        if not a_batch and not b_batch and i % 6 == 0:
            a_shape = (k,)
        if not a_batch and not b_batch and i % 6 == 1:
            b_shape = (k,)
        a, b = integers(rng, dtype, a_shape), integers(rng, dtype, b_shape)
        acc = np.matmul(a.astype(np.int64) - za, b.astype(np.int64) - zb)
        so = out_scale(rng, sa, np.array([sb]), acc, False)
        y = OPS.matmul(quantized(a, sa, za, dtype), quantized(b, sb, zb, dtype), so, zo).int_repr().numpy()
        multiplier = (f32(sa) * f32(sb)) * (f32(1) / f32(so))
        low, high = RANGE[dtype]
        real = rne(acc.astype(np.int32).astype(f32) * multiplier).astype(np.int64)
        fam.check(y, np.clip(real + zo, low, high).astype(NUMPY[dtype]))
        fam.add(dict(a=a, b=b, y=y), a_scale=sa, a_zero_point=za, b_scale=sb, b_zero_point=zb,
                y_scale=so, y_zero_point=zo)
    return fam


def prelu(dtype, cases):
    """Slopes of zero point 0, as torch is wrong with others. Its vector bodies may be a step off."""
    fam = Family(f"prelu_{dtype}", op="prelu", dtype=dtype)
    rng = fam.rng
    off = total = 0
    for i in range(cases):
        shape = [int(rng.randint(1, m)) for m in (3, 20, 8, 8)]
        s, z = scale(rng, 1e-3, 0.2), zero_point(rng, dtype)
        so, zo = float(f32(s * np.exp(rng.uniform(-1, 1)))), zero_point(rng, dtype)
        ws = 2.0 ** -int(rng.randint(6, 9))
        w = integers(rng, dtype, (1 if i % 5 == 0 else shape[1],))
        x = integers(rng, dtype, shape)
        y = OPS.prelu(quantized(x, s, z, dtype), quantized(w, ws, 0, dtype), so, zo).int_repr().numpy()
        slopes = dequantize(w, ws, 0)
        real = dequantize(x, s, z)
        want = quantize(np.where(real > 0, real, real * slopes.reshape(-1, 1, 1)), so, zo, dtype)
        steps = np.abs(y.astype(int) - want.astype(int))
        assert steps.max() <= 1, steps.max()
        off, total = off + int(steps.sum()), total + steps.size
        fam.add(dict(x=x, w=slopes.astype(f32), y=y), x_scale=s, x_zero_point=z, y_scale=so, y_zero_point=zo)
    print(f"  {off} of {total} one step from the formula")
    return fam


def cat(dtype, cases):
    """Every third case has one set of parameters for all; else each tensor its own, where torch's vector bodies
    may be a step off."""
    fam = Family(f"cat_{dtype}", op="cat", dtype=dtype)
    rng = fam.rng
    off = total = 0
    for i in range(cases):
        axis, shared = int(rng.randint(4)), i % 3 == 0
        shape = [int(rng.randint(1, 5)) for _ in range(4)]
        so, zo = scale(rng, 1e-3, 0.2), zero_point(rng, dtype)
        tensors, arrays, meta, want = [], {}, {}, []
        for name in ("a", "b", "c")[:int(rng.randint(2, 4))]:
            shape[axis] = int(rng.randint(1, 7))
            s, z = (so, zo) if shared else (float(f32(so * np.exp(rng.uniform(-1, 1)))), zero_point(rng, dtype))
            arrays[name] = integers(rng, dtype, shape)
            meta[f"{name}_scale"], meta[f"{name}_zero_point"] = s, z
            tensors.append(quantized(arrays[name], s, z, dtype))
            want.append(arrays[name] if (s, z) == (so, zo) else
                        quantize(dequantize(arrays[name], s, z), so, zo, dtype))
        y = OPS.cat(tensors, axis, so, zo)
        assert (y.q_scale(), y.q_zero_point()) == (so, zo)
        y, want = y.int_repr().numpy(), np.concatenate(want, axis)
        if shared:
            fam.check(y, want)
        else:
            steps = np.abs(y.astype(int) - want.astype(int))
            assert steps.max() <= 1
            off, total = off + int(steps.sum()), total + steps.size
        fam.add(dict(arrays, y=y), axis=axis, exact=shared, y_scale=so, y_zero_point=zo, **meta)
    print(f"  others: {off} of {total} one step from the formula")
    return fam


def softmax(cases):
    """Rows whose sum overflows QNNPACK's 32 bits, where many elements are equal, are left out."""
    dtype = "quint8"
    fam = Family("softmax_quint8", op="softmax", dtype=dtype)
    rng = fam.rng
    for i in range(cases):
        axis = int(rng.randint(4))
        shape = [int(rng.randint(1, 5)) for _ in range(4)]
        shape[axis] = int(rng.randint(1, 30)) if i % 10 else int(rng.randint(300, 700))
        if i % 10 == 0:
            shape = [n if d == axis else 1 for d, n in enumerate(shape)]
        s, z = scale(rng, 1e-3, 0.5), zero_point(rng, dtype)
        x = integers(rng, dtype, shape)
        y = OPS.softmax(quantized(x, s, z, dtype), axis, 1 / 256, 0).int_repr().numpy()
        n = shape[axis]
        unit = min(4294967295.0 / n, 8388607.0)
        table = np.rint(unit * np.exp((np.arange(256) - 255) * np.float64(f32(s)))).astype(np.uint64)
        e = table[255 + x.astype(int) - x.max(axis, keepdims=True)]
        total = e.sum(axis, keepdims=True)
        assert total.max() < 2**32
        fam.check(y, np.minimum(255, ((e << np.uint64(8)) + (total >> np.uint64(1))) // total).astype(np.uint8))
        fam.add(dict(x=x, y=y), axis=axis, x_scale=s, x_zero_point=z, y_scale=1 / 256, y_zero_point=0)
    return fam


# ---------------------------------------------------------------- functions of one value

UNARY = ["sigmoid", "tanh", "hardsigmoid", "hardswish", "leaky_relu", "elu", "gelu", "gelu_tanh"]
FIXED = {"sigmoid": (1 / 256, 0), "hardsigmoid": (1 / 256, 0), "tanh": (2 / 256, 128)}


def unary_real(kind, x, alpha):
    """f(x) in f32; exponentials in f64, rounded once."""
    wide = x.astype(np.float64)
    three, six = f32(3), f32(6)
    with np.errstate(over="ignore"):
        if kind == "sigmoid":
            return f32(1) / (f32(1) + np.exp(-wide).astype(f32))
        if kind == "tanh":
            return np.tanh(wide).astype(f32)
        if kind == "hardsigmoid":
            return np.clip(x + three, f32(0), six) / six
        if kind == "hardswish":
            return x * np.clip(x + three, f32(0), six) / six
        if kind == "leaky_relu":
            return np.where(x > 0, x, x * f32(alpha))
        if kind == "elu":
            return np.where(x > 0, x, np.expm1(np.minimum(wide, 0)).astype(f32) * f32(alpha))
        return F.gelu(torch.from_numpy(wide), approximate="tanh" if kind == "gelu_tanh" else "none").numpy().astype(f32)


def unary_formula(kind, q, s, z, so, zo, dtype, alpha, engine="qnnpack"):
    x = dequantize(q, s, z)
    low, high = RANGE[dtype]
    if engine != "qnnpack":
        return quantize(unary_real(kind, x, alpha), so, zo, dtype)
    if kind == "hardswish" and dtype == "quint8":
        # QNNPACK adds the zero point before it rounds
        y = (f32(1) / f32(so)) * unary_real(kind, x, alpha) + f32(zo)
        return rne(np.clip(y, f32(low), f32(high))).astype(NUMPY[dtype])
    if kind == "tanh" and dtype == "quint8":
        y = (np.float64(f32(1) / f32(so)) * np.tanh(x.astype(np.float64)) + zo).astype(f32)
        return rne(np.clip(y, f32(low), f32(high))).astype(NUMPY[dtype])
    return quantize(unary_real(kind, x, alpha), so, zo, dtype)


def rounded_late(cases):
    """The functions whose zero point QNNPACK adds before it rounds, and the other engines behind: half of the
    cases have only powers of two as scales, so that the two differ where results lie between two steps. ATen's
    vector bodies may be one step off."""
    fam = Family("unary_fbgemm", engine="fbgemm", op="unary", dtype="quint8")
    rng = fam.rng
    q = np.arange(256).astype(np.uint8)
    off = between = 0
    for i in range(cases):
        kind, ties = ("hardswish", "hardswish", "tanh")[i % 3], i % 2 == 0
        s, z = scale(rng, 2e-3, 0.3, ties), zero_point(rng, "quint8")
        so, zo = FIXED.get(kind, (scale(rng, 4e-3, 0.5, ties), zero_point(rng, "quint8")))

        def call():
            x = quantized(q, s, z, "quint8")
            return (torch.tanh(x) if kind == "tanh" else OPS.hardswish(x, so, zo)).int_repr().numpy()

        y = fam.ask(call, *OTHERS)
        want = unary_formula(kind, q, s, z, so, zo, "quint8", 0.0, "fbgemm")
        steps = np.abs(y.astype(int) - want.astype(int))
        assert steps.max() <= 1, (kind, steps.max())
        off += int(steps.sum())
        between += int((unary_formula(kind, q, s, z, so, zo, "quint8", 0.0) != want).sum())
        fam.add(dict(x=q, y=y), kind=kind, alpha=0.0, x_scale=s, x_zero_point=z, y_scale=so, y_zero_point=zo)
    print(f"  {off} of {256 * cases} one step from the formula, {between} would be by qnnpack's")
    return fam


def unary(dtype, cases):
    """Every input value under many parameters. `exact` says whether torch is equal to the formula; else ATen's
    vector bodies, which dequantize with a fused multiply-add, may be one step off."""
    fam = Family(f"unary_{dtype}", op="unary", dtype=dtype)
    rng = fam.rng
    low, high = RANGE[dtype]
    q = np.arange(low, high + 1).astype(NUMPY[dtype])
    off, other = 0, 0
    for i in range(cases):
        kind = UNARY[i % len(UNARY)]
        if kind.startswith("gelu") and dtype == "quint8" and i // len(UNARY) >= 12:
            continue
        s, z = scale(rng, 2e-3, 0.3), zero_point(rng, dtype)
        so, zo = scale(rng, 4e-3, 0.2), zero_point(rng, dtype)
        alpha = float(f32(rng.uniform(0.01, 1.5)))
        if kind in FIXED:
            so, zo = FIXED[kind]
            zo = zo if dtype == "quint8" else zo - 128
        x = quantized(q, s, z, dtype)
        if kind == "sigmoid":
            y = torch.sigmoid(x)
        elif kind == "tanh":
            y = torch.tanh(x)
        elif kind == "hardsigmoid":
            y = F.hardsigmoid(x)
        elif kind == "hardswish":
            y = OPS.hardswish(x, so, zo)
        elif kind == "leaky_relu":
            y = OPS.leaky_relu(x, alpha, False, so, zo)
        elif kind == "elu":
            y = OPS.elu(x, so, zo, alpha)
        else:  # torch keeps the input's parameters
            so, zo = s, z
            y = F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")
        assert (y.q_scale(), y.q_zero_point()) == (so, zo), (kind, y.q_scale(), y.q_zero_point())
        y = y.int_repr().numpy()
        want = unary_formula(kind, q, s, z, so, zo, dtype, alpha)
        exact = dtype == "quint8" and kind in ("sigmoid", "tanh", "hardsigmoid", "hardswish")
        if exact:
            fam.check(y, want)
        else:
            steps = np.abs(y.astype(int) - want.astype(int))
            assert steps.max() <= 1, (kind, steps.max())
            off, other = off + int(steps.sum()), other + steps.size
        fam.add(dict(x=q, y=y), kind=kind, alpha=alpha, exact=exact, x_scale=s, x_zero_point=z,
                y_scale=so, y_zero_point=zo)
    print(f"  others: {off} of {other} one step from the formula")
    return fam


def scalar(dtype, cases):
    """A tensor and a number: torch chooses the output's parameters."""
    fam = Family(f"scalar_{dtype}", op="scalar", dtype=dtype)
    rng = fam.rng
    low, high = RANGE[dtype]
    q = np.arange(low, high + 1).astype(NUMPY[dtype])
    for i in range(cases):
        kind, relu = ("add", "mul")[i % 2], i % 3 == 2
        s, z = scale(rng, 1e-3, 0.5), zero_point(rng, dtype)
        reach = 400 * s if kind == "add" else 3
        other = float(rng.uniform(-reach, reach))
        if i % 20 == 7:
            other = 0.0
        if i % 10 == 4:
            other = s * (rng.randint(-200, 200) + 0.5)
        x = quantized(q, s, z, dtype)
        op = getattr(OPS, f"{kind}_relu" if relu else kind)
        y = op(x, other)
        so, zo = y.q_scale(), y.q_zero_point()
        y = y.int_repr().numpy()
        if kind == "mul":
            want = q if other > 0 else np.zeros_like(q) if other == 0 else (low + high - q.astype(int))
        else:
            c = int(np.rint(other / s))
            steps = (q.astype(int) - z + c)
            if low <= z - c <= high:
                want = q
            else:
                want = np.clip(rne(f32(s) * (f32(1) / f32(so)) * steps.astype(f32)) + zo, low, high)
        want = np.asarray(want).astype(NUMPY[dtype])
        if relu:
            want = np.maximum(want, NUMPY[dtype](zo))
        fam.check(y, want)
        fam.add(dict(x=q, y=y), kind=kind, relu=relu, other=other, x_scale=s, x_zero_point=z,
                y_scale=so, y_zero_point=zo)
    return fam


# ---------------------------------------------------------------- recurrent layers

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def cell_step(kind, i, u, h, c):
    """One step of `RNN.cpp`: gates of the input and of the hidden state to the next states."""
    if kind == "lstm":
        g = (u + i).chunk(4, 1)
        c = torch.sigmoid(g[1]) * c + torch.sigmoid(g[0]) * torch.tanh(g[2])
        return torch.sigmoid(g[3]) * torch.tanh(c), c
    if kind == "gru":
        i, u = i.chunk(3, 1), u.chunk(3, 1)
        new = torch.tanh(i[2] + u[2] * torch.sigmoid(u[0] + i[0]))
        return (h - new) * torch.sigmoid(u[1] + i[1]) + new, c
    return (torch.tanh if kind == "rnn_tanh" else torch.relu)(u + i), c


def recurrent_by_steps(kind, x, linears, h0, c0, layers, directions, reduce_range=False):
    """Rebuilt from linear layers, time first. Also gives how near a hidden value came to the middle between
    two steps when it was quantized, in steps: a difference in the last bit of `tanh` can decide it."""
    near = 1.0
    last_h, last_c = [], []
    for layer in range(layers):
        outs = []
        for d in range(directions):
            of_input, of_hidden = linears[layer * directions + d]
            h, c = h0[layer * directions + d], c0[layer * directions + d]
            if layer:
                near = min(near, margin(x.numpy(), reduce_range))
            gates = of_input(x)
            ys = [None] * len(x)
            for t in (range(len(x)) if d == 0 else reversed(range(len(x)))):
                near = min(near, margin(h.numpy(), reduce_range))
                h, c = cell_step(kind, gates[t], of_hidden(h), h, c)
                ys[t] = h
            outs.append(torch.stack(ys))
            last_h.append(h)
            last_c.append(c)
        x = torch.cat(outs, 2)
    return x, torch.stack(last_h), torch.stack(last_c), near


def margin(x, reduce_range):
    s, z = choose_qparams(x.min(), x.max(), reduce_range)
    scaled = x.astype(np.float64) / np.float64(f32(s))
    return float(np.abs(scaled - np.floor(scaled) - 0.5).min())


def recurrent(name, cases, half, reduce_range=False):
    """LSTM, GRU and cells; engine fbgemm for float16, as qnnpack has no such linear layer, and with
    `reduce_range`, without which it would saturate."""
    fam = Family(name, engine="fbgemm" if half or reduce_range else "qnnpack", op=name, reduce_range=reduce_range)
    rng = fam.rng
    dropped, far = 0, 0.0
    while len(fam.cases) < cases:
        i = len(fam.cases)
        kind = ["lstm", "gru", "lstm", "gru", "rnn_tanh", "rnn_relu"][i % 6]
        cell = kind.startswith("rnn") or rng.rand() < 0.3
        layers = 1 if cell else pick(rng, 1, 1, 2)
        directions = 1 if cell else pick(rng, 1, 2)
        steps, batch = (1 if cell else int(rng.randint(1, 6))), pick(rng, 1, 1, 2, 3)
        features, hidden = int(rng.randint(1, 14)), int(rng.randint(1, 12 if i % 4 else 18))
        batch_first, per_channel = (not cell and rng.rand() < 0.4), rng.rand() < 0.5
        rows = GATES[kind] * hidden
        reach = float(np.exp(rng.uniform(-2, 1)))
        x = (rng.randn(steps, batch, features) * reach).astype(f32)
        count = layers * directions
        given = cell or rng.rand() < 0.5
        state = lambda: (rng.randn(count, batch, hidden) * (0.7 if given else 0)).astype(f32)
        h0, c0 = state(), state()
        has_bias = rng.rand() < 0.7
        ws, scales, zeros, biases, linears, params = [], [], [], [], [], []
        for index in range(count):
            pair, packed, bias_pair = [], [], []
            for which in range(2):
                k = hidden if which else (features if index < directions else directions * hidden)
                bias = rng.uniform(-0.5, 0.5, rows).astype(f32) if has_bias else np.zeros(rows, f32)
                b = torch.from_numpy(bias)
                if half:
                    w = rng.uniform(-0.6, 0.6, (rows, k)).astype(f32)
                    p = OPS.linear_prepack_fp16(torch.from_numpy(w), b)
                    pair.append(lambda x, p=p: OPS.linear_dynamic_fp16(x, p))
                else:
                    w = rng.randint(-128, 128, size=(rows, k)).astype(np.int8)
                    if per_channel:
                        s = rng.uniform(5e-4, 6e-3, rows).astype(f32)
                        z = np.zeros(rows, np.int32)
                        q = torch._make_per_channel_quantized_tensor(
                            torch.from_numpy(w), torch.from_numpy(s).double(), torch.from_numpy(z).long(), 0)
                    else:
                        s = rng.uniform(5e-4, 6e-3, 1).astype(f32)
                        z = np.array([rng.randint(-20, 21) if rng.rand() < 0.3 else 0], np.int32)
                        z = z * (not reduce_range)  # onednn takes 0 only
                        q = torch._make_per_tensor_quantized_tensor(torch.from_numpy(w), float(s[0]), int(z[0]))
                    scales.append(s)
                    zeros.append(z)
                    p = OPS.linear_prepack(q, b)
                    pair.append(lambda x, p=p: OPS.linear_dynamic(x, p, reduce_range))
                ws.append(w.reshape(-1))
                packed.append(p)
                bias_pair.append(b)
                if has_bias:
                    biases.append(bias)
            linears.append(pair)
            params.append(OPS.make_quantized_cell_params_fp16(*packed) if half else
                          OPS.make_quantized_cell_params_dynamic(*packed, *bias_pair, reduce_range))
        tx, th, tc = map(torch.from_numpy, (x, h0, c0))
        y, h, c, near = recurrent_by_steps(kind, tx, linears, th, tc, layers, directions, reduce_range)
        if not half and near < 1e-3:
            dropped += 1
            continue
        if cell:
            hx = [th[0], tc[0]] if kind == "lstm" else th[0]
            got = getattr(OPS, f"quantized_{kind}_cell_dynamic")(tx[0], hx, *packed, *bias_pair)
            got = got if kind == "lstm" else (got,)
            want = (h[0], c[0]) if kind == "lstm" else (h[0],)
        else:
            source = tx.transpose(0, 1) if batch_first else tx
            op = torch.quantized_lstm if kind == "lstm" else torch.quantized_gru
            tail = dict(dtype=torch.float16 if half else torch.qint8, use_dynamic=True) if kind == "lstm" else {}
            got = op(source, [th, tc] if kind == "lstm" else th, params, True, layers, 0.0, False,
                     directions == 2, batch_first, **tail)
            if batch_first:
                y = y.transpose(0, 1)
            want = (y, h, c)[:len(got)]
        for g, w in zip(got, want):
            fam.check(g.numpy(), w.numpy())
            far = max(far, float((g - w).abs().max()))
        if cell:
            x = x[0]
        elif batch_first:
            x = x.transpose(1, 0, 2)
        arrays = dict(x=x, w=np.concatenate(ws), out=np.concatenate([g.numpy().reshape(-1) for g in got]))
        if not half:
            arrays.update(w_scales=np.concatenate(scales), w_zero_points=np.concatenate(zeros))
        if has_bias:
            arrays.update(bias=np.concatenate(biases))
        if given:
            arrays.update(h0=h0, c0=c0 if kind == "lstm" else None)
        fam.add(arrays, kind=kind, cell=cell, layers=layers, directions=directions, hidden=hidden,
                batch_first=batch_first, per_channel=per_channel)
    print(f"  {dropped} cases dropped: a hidden value within 0.001 steps of a tie; {far} from the steps at most")
    # torch's vectors and its last elements have different `tanh`s
    assert far < 1e-6, far
    return fam


# ---------------------------------------------------------------- observers

def observer_kinds():
    from torch.ao.quantization import observer as obs

    chan = torch.per_channel_symmetric
    return {
        "min_max_quint8": obs.MinMaxObserver,
        "min_max_quint8_reduce_range": obs.MinMaxObserver.with_args(reduce_range=True),
        "min_max_qint8_eps_2^-12": obs.MinMaxObserver.with_args(dtype=torch.qint8, eps=2**-12),
        "default_weight": obs.default_weight_observer,
        "weight_neg_127_to_127": obs.weight_observer_range_neg_127_to_127,
        "default_per_channel_weight": obs.default_per_channel_weight_observer,
        "per_channel_weight_neg_127_to_127": obs.per_channel_weight_observer_range_neg_127_to_127,
        "moving_average_quint8": obs.MovingAverageMinMaxObserver,
        "moving_average_per_channel_qint8": obs.MovingAveragePerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=chan),
        "histogram_quint8": obs.HistogramObserver.with_args(reduce_range=False),
        "histogram_quint8_reduce_range": obs.HistogramObserver.with_args(reduce_range=True),
        "histogram_qint8_eps_2^-12": obs.HistogramObserver.with_args(
            dtype=torch.qint8, reduce_range=False, eps=2**-12),
    }


def add_observed(fam, kind, x, at=None):
    """A case: what an observer holds after the batches `x`, stored already at `at` or now."""
    o = observer_kinds()[kind]()
    for batch in x:
        o(torch.from_numpy(batch))
    s, z = o.calculate_qparams()
    arrays = dict(x=x if at is None else None, min=o.min_val.reshape(-1).numpy().astype(f32),
                  max=o.max_val.reshape(-1).numpy().astype(f32),
                  scales=s.numpy().astype(np.float64), zero_points=z.numpy().astype(np.int32))
    fam.add(arrays, kind=kind, **({} if at is None else {"x": at}))


def observers(cases):
    fam = Family("observers", op="observer")
    rng = fam.rng
    kinds = list(observer_kinds())
    for i in range(cases):
        kind = kinds[i % len(kinds)]
        batches = 1 if "weight" in kind else int(rng.randint(1, 5))
        size = int(rng.randint(20, 200)) if "histogram" in kind else int(rng.randint(4, 60))
        channels = int(rng.randint(1, 7)) if "channel" in kind else 1
        x = (rng.randn(batches, channels, size) * np.exp(rng.uniform(-6, 3))).astype(f32)
        style = (i // len(kinds)) % 5
        if style == 1:
            x = np.maximum(x, f32(0))
        if style == 2:
            x = (x**3).astype(f32)
        if style == 3:
            x = (x * np.exp(rng.randn(batches, 1, 1))).astype(f32)
        if style == 4:
            x = (x + f32(rng.uniform(-5, 5)) * np.abs(x).max()).astype(f32)
        add_observed(fam, kind, x)
    return fam


def observers_digits():
    """Every observer on the trained network of `examples/data`: its weights, and its activations on 32
    calibration digits in batches of 4. Values are rounded to bfloat16, so that the file compresses."""
    import safetensors.torch

    fam = Family("observers_digits", op="observer")
    data = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data"
    state = safetensors.torch.load_file(data / "mnist_cnn.safetensors")
    images = torch.from_numpy(np.load(data / "digits.npz")["calib_images"][:32]).float()
    x = ((images / 255 - 0.1307) / 0.3081).unsqueeze(1)
    values = {"input": x}
    for layer in (0, 3, 6):
        weight, bias = (state[f"conv_layers.{layer}.{part}"] for part in ("weight", "bias"))
        x = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=1)), 2)
    values["conv_layers.8"] = x.flatten(1)
    x = F.relu(F.linear(x.flatten(1), state["fc_layers.0.weight"], state["fc_layers.0.bias"]))
    values["fc_layers.1"] = x
    values["fc_layers.2"] = F.linear(x, state["fc_layers.2.weight"], state["fc_layers.2.bias"])
    short = lambda x: x.to(torch.bfloat16).float().numpy()
    for name, value in values.items():
        batches = short(value).reshape(8, 1, -1)
        at = fam.put("x", batches)
        for kind in observer_kinds():
            if "weight" not in kind and "channel" not in kind:
                add_observed(fam, kind, batches, at)
    for name in ("conv_layers.0", "conv_layers.3", "fc_layers.2"):
        weight = short(state[f"{name}.weight"])[None]
        weight = weight.reshape(1, weight.shape[1], -1)
        at = fam.put("x", weight)
        for kind in observer_kinds():
            if "weight" in kind or "channel" in kind:
                add_observed(fam, kind, weight, at)
    return fam


FAMILIES = {
    "linear_quint8": lambda: linear("quint8", 320),
    "linear_qint8": lambda: linear("qint8", 220),
    "conv1d_quint8": lambda: conv(1, "quint8", 240),
    "conv1d_qint8": lambda: conv(1, "qint8", 204),
    "conv2d_quint8": lambda: conv(2, "quint8", 360),
    "conv2d_qint8": lambda: conv(2, "qint8", 240),
    "add_quint8": lambda: add("quint8", 300),
    "add_qint8": lambda: add("qint8", 300),
    "max_pool1d_quint8": lambda: max_pool(1, "quint8", 230),
    "max_pool2d_quint8": lambda: max_pool(2, "quint8", 230),
    "max_pool2d_qint8": lambda: max_pool(2, "qint8", 230),
    "avg_pool2d_quint8": lambda: avg_pool(220),
    "adaptive_avg_pool2d_quint8": lambda: global_avg_pool("adaptive_avg_pool2d", 200),
    "mean_quint8": lambda: global_avg_pool("mean", 200),
    "clamp_quint8": lambda: clamp("quint8", 240),
    "clamp_qint8": lambda: clamp("qint8", 200),
    "mul_quint8": lambda: mul("quint8", 240),
    "mul_qint8": lambda: mul("qint8", 240),
    "matmul_quint8": lambda: matmul("quint8", 160),
    "matmul_qint8": lambda: matmul("qint8", 80),
    "prelu_quint8": lambda: prelu("quint8", 150),
    "cat_quint8": lambda: cat("quint8", 210),
    "cat_qint8": lambda: cat("qint8", 210),
    "softmax_quint8": lambda: softmax(220),
    "unary_quint8": lambda: unary("quint8", 320),
    "unary_qint8": lambda: unary("qint8", 160),
    "scalar_quint8": lambda: scalar("quint8", 240),
    "scalar_qint8": lambda: scalar("qint8", 120),
    "quantize_quint8": lambda: quantize_per_tensor("quint8", 240),
    "quantize_qint8": lambda: quantize_per_tensor("qint8", 200),
    "quantize_per_channel_qint8": lambda: quantize_per_channel(200),
    "dequantize_quint8": lambda: dequantize_family("quint8", 200),
    "dequantize_qint8": lambda: dequantize_family("qint8", 200),
    "requantize_quint8_quint8": lambda: requantize("quint8", "quint8", 200),
    "requantize_qint8_qint8": lambda: requantize("qint8", "qint8", 200),
    "requantize_quint8_qint8": lambda: requantize("quint8", "qint8", 100),
    "requantize_qint8_quint8": lambda: requantize("qint8", "quint8", 100),
    "choose_qparams": lambda: choose_qparams_family(320),
    "linear_dynamic": lambda: linear_dynamic(240),
    "linear_dynamic_fp16": lambda: linear_dynamic_fp16(220),
    "recurrent_dynamic": lambda: recurrent("recurrent_dynamic", 160, False),
    "recurrent_fp16": lambda: recurrent("recurrent_fp16", 60, True),
    "observers": lambda: observers(360),
    "observers_digits": observers_digits,
}


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", metavar="FAMILY", choices=[[], *FAMILIES])
    parser.add_argument("--out", type=pathlib.Path, default=root / "golden" / "numerics")
    parser.add_argument("--report-only", action="store_true", help="do not stop at a difference")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.families or FAMILIES:
        exact = not args.report_only and not name.startswith("recurrent")
        FAMILIES[name]().write(args.out, exact=exact)


if __name__ == "__main__":
    main()
