"""Record what torch's quantized operators over lines, images and volumes compute.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy
    python tests/oracle/spatial.py            # or: spatial.py FAMILY...

writes `tests/golden/numerics/FAMILY.npz`, as numerics.py does, whose notes hold here too. Families whose
contract is "equal" fail if one element differs from the promised formula. Those that promise one step fail
if torch itself is further from the float reference than that; how many elements differ is printed.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import numerics as N
from numerics import (OTHERS, Family, OPS, bits, dequantize, f32, integers, out_scale, pick, quantize, quantized,
                      requantize_acc, requantize_fbgemm, scale, zero_point)


# ---------------------------------------------------------------- convolutions

def weight(rng, shape, axis, count, zero_points, low, ties, bits=8):
    """Per tensor, or with `count` scales along `axis`."""
    w = rng.randint(-3 if ties else low, 4 if ties else 128, size=shape).astype(np.int8)
    w = w >> (8 - bits)
    if count > 1:
        scales = np.array([scale(rng, 1e-3, 0.1, ties) for _ in range(count)], f32)
        zps = np.zeros(count, np.int32)
        return w, scales, zps, torch._make_per_channel_quantized_tensor(
            torch.from_numpy(w), torch.from_numpy(scales).double(), torch.from_numpy(zps).long(), axis)
    scales = np.array([scale(rng, 1e-3, 0.1, ties)], f32)
    zps = np.array([rng.randint(-20, 21) if zero_points and rng.rand() < 0.25 else 0], np.int32)
    return w, scales, zps, torch._make_per_tensor_quantized_tensor(
        torch.from_numpy(w), float(scales[0]), int(zps[0]))


def conv(dim, dtype, cases, transposed, engine="qnnpack"):
    name = f"conv_transpose{dim}d" if transposed else f"conv{dim}d"
    fam = Family(f"{name}_{dtype if engine == 'qnnpack' else engine}", engine=engine, op=name, dtype=dtype)
    rng = fam.rng
    low = -128 if dtype == "quint8" else -127
    most = (14, 12, 7)[dim - 1]
    while len(fam.cases) < cases:
        i = len(fam.cases)
        # XNNPACK has no per-channel transposed weights, and torch reads beyond the scales where there
        # are groups too
        per_channel = dtype == "quint8" and i % 2 == 1
        if engine != "qnnpack" and transposed:
            per_channel = False  # refused
        relu, ties = rng.rand() < 0.35 and not transposed, rng.rand() < 0.2
        batch = pick(rng, 1, 1, 2)
        groups = 1 if transposed and per_channel else pick(rng, 1, 1, 2, 3)
        cin, cout = groups * int(rng.randint(1, most)), groups * int(rng.randint(1, most))
        onednn = False
        if groups > 1 and rng.rand() < 0.5:
            groups = cin = cout = int(rng.randint(2, 20))  # depthwise
        if engine != "qnnpack" and transposed and rng.rand() < 0.6:
            # with others onednn is wrong, and where a stride leaves outputs that no input reaches; padded
            # outputs and zero points of weights it refuses
            cout, onednn = cin, True
        kernel = [int(rng.randint(1, 5 if dim < 3 else 4)) for _ in range(dim)]
        stride = [int(rng.randint(1, 4 if transposed else 3)) for _ in range(dim)]
        dilation = [pick(rng, 1, 1, 2) for _ in range(dim)]
        if onednn:
            kernel = [max(k, 2) for k in kernel]
            dilation = [1] * dim
            stride = [min(s, k) for s, k in zip(stride, kernel)]
        padding = [int(rng.randint(0, (k - 1) * d + 1)) for k, d in zip(kernel, dilation)]
        more = [0 if onednn else int(rng.randint(0, max(s, d))) for s, d in zip(stride, dilation)]
        if transposed:
            size = [int(rng.randint(1, (9, 6, 4)[dim - 1])) for _ in range(dim)]
            out = [(n - 1) * s - 2 * p + d * (k - 1) + m + 1
                   for n, s, p, d, k, m in zip(size, stride, padding, dilation, kernel, more)]
            if min(out) < 1:
                continue
            if dtype == "qint8" and any(m >= s or o < s for m, s, o in zip(more, stride, out)):
                continue  # XNNPACK refuses such an output padding, and crashes with less output than stride
        else:
            size = [max(1, (k - 1) * d + 1 - 2 * p) + int(rng.randint(0, 4))
                    for k, d, p in zip(kernel, dilation, padding)]
        x_bits, w_bits = bits(engine, i)
        per_channel = per_channel and (engine == "qnnpack" or cout > 1)
        xs, xz = scale(rng, 1e-3, 0.2, ties), zero_point(rng, dtype) >> (8 - x_bits)
        x = integers(rng, dtype, (batch, cin, *size)) >> (8 - x_bits)
        shape = (cin, cout // groups, *kernel) if transposed else (cout, cin // groups, *kernel)
        w, ws, wz, qw = weight(rng, shape, int(transposed), cout if per_channel else 1,
                               dtype == "quint8" and not onednn, low, ties, w_bits)
        a, b = torch.from_numpy(x).double() - xz, torch.from_numpy(w).double() - int(wz[0])
        if transposed:
            f = getattr(F, name)
            acc = f(a, b, None, stride, padding, more, groups, dilation)
        else:
            acc = F.conv3d(a, b, None, stride, padding, dilation, groups)
        acc = acc.numpy().astype(np.int64)
        bias = None
        if rng.rand() < 0.85:
            bias = (rng.randn(cout) * max(np.std(acc), 1) * xs * float(ws.mean())).astype(f32)
        ys, yz = out_scale(rng, xs, ws, acc, ties), zero_point(rng, dtype)
        tb = None if bias is None else torch.from_numpy(bias)
        prepack = getattr(OPS, name + "_prepack")
        op = getattr(OPS, name + ("_relu" if relu else ""))

        def call():
            if transposed:
                packed = prepack(qw, tb, stride, padding, more, dilation, groups)
            else:
                packed = prepack(qw, tb, stride, padding, dilation, groups)
            return op(quantized(x, xs, xz, dtype), packed, ys, yz).contiguous().int_repr().numpy()

        others = () if engine == "qnnpack" else OTHERS
        # onednn is wrong where a transposed convolution has not as many outputs as inputs, or a stride beyond
        # its kernel
        wrong = transposed and (cin != cout or any(
            s > (k - 1) * d + 1 for s, k, d in zip(stride, kernel, dilation)))
        y = fam.ask(call, *(others[:1] if wrong else others))
        if len(others) > 1 and wrong:
            fam.others.append((len(fam.cases), "onednn", None))
        formula = requantize_acc if engine == "qnnpack" else requantize_fbgemm
        fam.check(y, formula(acc, 1, bias, xs, ws, ys, yz, dtype, relu))
        arrays = dict(x=x, w=w, w_scales=ws, w_zero_points=wz, bias=bias, y=y)
        meta = dict(stride=stride, padding=padding, dilation=dilation, groups=groups, x_scale=xs,
                    x_zero_point=xz, y_scale=ys, y_zero_point=yz, relu=relu, per_channel=per_channel)
        if transposed:
            meta["output_padding"] = more
        fam.add(arrays, **meta)
    return fam


# ---------------------------------------------------------------- pools

class Steps(Family):
    """A family that promises a distance from the float reference, not a formula."""

    def steps(self, got, real, s, z, dtype):
        """`real` are float results; counts elements by their distance from these, quantized."""
        want = quantize(real.astype(f32), s, z, dtype)
        far = np.abs(got.astype(np.int64) - want.astype(np.int64))
        self.elements += got.size
        self.different += int((far > 0).sum())
        assert far.max(initial=0) <= 1, (self.name, far.max())


def real(x, s, z):
    return torch.from_numpy(dequantize(x, s, z)).double()


def max_pool3d(cases):
    dtype = "quint8"
    # QNNPACK has none
    fam = Family("max_pool3d_quint8", engine="fbgemm", op="max_pool3d", dtype=dtype)
    rng = fam.rng
    while len(fam.cases) < cases:
        kernel = [int(rng.randint(1, 4)) for _ in range(3)]
        stride = [int(rng.randint(1, 4)) for _ in range(3)]
        dilation = [pick(rng, 1, 1, 1, 2)] * 3
        padding = [int(rng.randint(0, k // 2 + 1)) for k in kernel]
        size = [max(1, (k - 1) * d + 1 - 2 * p) + int(rng.randint(0, 4))
                for k, d, p in zip(kernel, dilation, padding)]
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 14)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        ceil_mode = len(fam.cases) % 10 == 9
        want = F.max_pool3d(torch.from_numpy(x).double(), kernel, stride, padding, dilation, ceil_mode)
        if want.numel() == 0 or want.isinf().any():
            continue  # isinf: a window that lies in the padding only
        y = F.max_pool3d(quantized(x, s, z, dtype), kernel, stride, padding, dilation, ceil_mode)
        y = y.contiguous().int_repr().numpy()
        fam.check(y, want.numpy().astype(np.uint8))
        fam.add(dict(x=x, y=y), kernel=kernel, stride=stride, padding=padding, dilation=dilation,
                x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


def avg_pool3d(cases):
    dtype = "quint8"
    fam = Steps("avg_pool3d_quint8", op="avg_pool3d", dtype=dtype)
    rng = fam.rng
    while len(fam.cases) < cases:
        kernel = [int(rng.randint(1, 4)) for _ in range(3)]
        stride = [int(rng.randint(1, 4)) for _ in range(3)]
        padding = [int(rng.randint(0, k // 2 + 1)) for k in kernel]
        size = [k + int(rng.randint(0, 4)) for k in kernel]  # torch asks for that
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 14)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        include, ceil_mode = bool(rng.randint(2)), bool(rng.randint(2))
        divisor = pick(rng, None, None, int(rng.randint(1, 30)))
        args = kernel, stride, padding, ceil_mode, include, divisor
        y = F.avg_pool3d(quantized(x, s, z, dtype), *args).contiguous().int_repr().numpy()
        fam.steps(y, F.avg_pool3d(real(x, s, z), *args).numpy(), s, z, dtype)
        fam.add(dict(x=x, y=y), kernel=kernel, stride=stride, padding=padding, count_include_pad=include,
                divisor_override=divisor or 0, x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


def adaptive(dim, cases):
    dtype = "quint8"
    fam = Steps(f"adaptive_avg_pool{dim}d_any_quint8", op=f"adaptive_avg_pool{dim}d", dtype=dtype)
    rng = fam.rng
    op = getattr(F, fam.notes["op"])
    most = (24, 12, 6)[dim - 1]
    while len(fam.cases) < cases:
        size = [int(rng.randint(1, most)) for _ in range(dim)]
        out = [int(rng.randint(1, most)) for _ in range(dim)]
        if max(size) == 1 or max(out) == 1:
            continue  # 1 x 1 to more: torch mixes up the layouts; to 1 x 1: a family of its own
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 14)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        y = op(quantized(x, s, z, dtype), out).contiguous().int_repr().numpy()
        fam.steps(y, op(real(x, s, z), out).numpy(), s, z, dtype)
        fam.add(dict(x=x, y=y), x_scale=s, x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


def mean(cases):
    dtype = "quint8"
    fam = Steps("mean_any_quint8", op="mean", dtype=dtype)
    rng = fam.rng
    while len(fam.cases) < cases:
        rank = int(rng.randint(1, 6))
        shape = [int(rng.randint(1, (200, 24, 9, 6, 5)[rank - 1])) for _ in range(rank)]
        axes = [axis for axis in range(rank) if rng.randint(2)] or [int(rng.randint(rank))]
        keepdim = bool(rng.randint(2))
        x = integers(rng, dtype, shape)
        s, z = scale(rng), zero_point(rng, dtype)
        y = torch.mean(quantized(x, s, z, dtype), axes, keepdim).contiguous().int_repr().numpy()
        fam.steps(y, torch.mean(real(x, s, z), axes, keepdim).numpy(), s, z, dtype)
        fam.add(dict(x=x, y=y.reshape(y.shape or (1,))), axes=axes, x_scale=s, x_zero_point=z, y_scale=s,
                y_zero_point=z)
    return fam


# ---------------------------------------------------------------- normalizations and interpolation

def norm(name, dtype, cases, engine="qnnpack"):
    fam = Steps(f"{name}_{dtype if engine == 'qnnpack' else engine}", engine=engine, op=name, dtype=dtype)
    rng = fam.rng
    while len(fam.cases) < cases:
        i = len(fam.cases)
        groups = int(rng.randint(1, 5))
        c = groups * int(rng.randint(1, 7 if i % 5 else 20))
        dims = 1 + i % 3
        size = [int(rng.randint(1, (30, 8, 5)[dims - 1])) for _ in range(dims)]
        if name == "batch_norm":
            size = (size + [3, 4, 2])[:2 + i % 2]
        shape = (pick(rng, 1, 2), c, *size)
        x = integers(rng, dtype, shape)
        xs, xz = scale(rng, 1e-3, 0.2), zero_point(rng, dtype)
        ys, yz = scale(rng, 1e-2, 0.1), zero_point(rng, dtype)
        eps = pick(rng, 1e-5, 1e-3)
        q, r = quantized(x, xs, xz, dtype), real(x, xs, xz)
        count = int(np.prod(size)) if name == "layer_norm" else c
        w, b = (torch.from_numpy(rng.randn(count).astype(f32)) for _ in range(2))
        relu, axes, arrays = False, None, {}
        if name == "batch_norm":
            mean = torch.from_numpy((rng.randn(c) * 40 * xs).astype(f32))
            var = torch.from_numpy((rng.uniform(0.1, 2, c) * (70 * xs) ** 2).astype(f32))
            relu = bool(rng.randint(2)) and dtype == "quint8"
            op = getattr(OPS, f"batch_norm{len(size)}d" + ("_relu" if relu else ""))

            def call():
                return op(q, w, b, mean, var, eps, ys, yz).contiguous().int_repr().numpy()

            y = torch.from_numpy(fam.ask(call, *(OTHERS if engine == "fbgemm" else ())))
            want = F.batch_norm(r, mean.double(), var.double(), w.double(), b.double(), False, 0, eps)
            want = want.relu() if relu else want
            arrays = dict(mean=mean.numpy(), var=var.numpy())
        elif name == "layer_norm":
            axes = len(size)
            w, b = w.reshape(size), b.reshape(size)
            y = OPS.layer_norm(q, size, w, b, eps, ys, yz)
            want = F.layer_norm(r, size, w.double(), b.double(), eps)
        elif name == "group_norm":
            y = OPS.group_norm(q, groups, w, b, eps, ys, yz)
            want = F.group_norm(r, groups, w.double(), b.double(), eps)
        else:
            if np.prod(size) == 1:
                continue  # refused
            groups = c
            y = OPS.instance_norm(q, w, b, eps, ys, yz)
            want = F.instance_norm(r, None, None, w.double(), b.double(), True, 0, eps)
        y = (y.int_repr() if y.is_quantized else y).contiguous().numpy()
        fam.steps(y, want.numpy(), ys, yz, dtype)
        arrays |= dict(x=x, y=y, w=w.numpy(), bias=b.numpy())
        fam.add(arrays, eps=eps, groups=groups, axes=axes or 0, relu=relu, x_scale=xs, x_zero_point=xz,
                y_scale=ys, y_zero_point=yz)
    return fam


def interpolate(mode, dtype, cases):
    exact = mode == "nearest"
    kind = Family if exact else Steps
    fam = kind(f"interpolate_{mode}_{dtype}", op="interpolate", dtype=dtype, mode=mode)
    rng = fam.rng
    while len(fam.cases) < cases:
        dims = 2 + len(fam.cases) % 2 if exact else 2  # quantized: images and volumes, bilinear images only
        size = [int(rng.randint(1, (12, 6)[dims - 2])) for _ in range(dims)]
        x = integers(rng, dtype, (pick(rng, 1, 2), int(rng.randint(1, 14)), *size))
        s, z = scale(rng), zero_point(rng, dtype)
        align = None if exact else bool(rng.randint(2))
        if rng.randint(2):
            factor = [pick(rng, 2.0, 0.5, 3.0, 1.7, 1.0) for _ in range(dims)]
            out = [int(n * f) for n, f in zip(size, factor)]
            args = dict(scale_factor=tuple(factor))
        else:
            factor, out = None, [int(rng.randint(1, 14 if dims == 2 else 8)) for _ in range(dims)]
            args = dict(size=tuple(out))
        if min(out) < 1 or max(size) == 1:
            continue  # torch mixes up the layouts of a 1 x 1 image
        args |= dict(mode=mode, align_corners=align)
        y = F.interpolate(quantized(x, s, z, dtype), **args).contiguous().int_repr().numpy()
        if exact:
            want = F.interpolate(torch.from_numpy(x).float(), **args)
            fam.check(y, want.numpy().astype(y.dtype))
        else:
            fam.steps(y, F.interpolate(real(x, s, z), **args).numpy(), s, z, dtype)
        fam.add(dict(x=x, y=y), align_corners=bool(align), scale_factor=factor or [], x_scale=s,
                x_zero_point=z, y_scale=s, y_zero_point=z)
    return fam


FAMILIES = {
    "conv3d_quint8": lambda: conv(3, "quint8", 200, False),
    "conv_transpose1d_quint8": lambda: conv(1, "quint8", 200, True),
    "conv_transpose2d_quint8": lambda: conv(2, "quint8", 200, True),
    "conv_transpose1d_qint8": lambda: conv(1, "qint8", 100, True),
    "conv_transpose2d_qint8": lambda: conv(2, "qint8", 100, True),
    "max_pool3d_quint8": lambda: max_pool3d(150),
    "avg_pool3d_quint8": lambda: avg_pool3d(150),
    "adaptive_avg_pool1d_any_quint8": lambda: adaptive(1, 100),
    "adaptive_avg_pool2d_any_quint8": lambda: adaptive(2, 150),
    "adaptive_avg_pool3d_any_quint8": lambda: adaptive(3, 100),
    "mean_any_quint8": lambda: mean(200),
    "batch_norm_quint8": lambda: norm("batch_norm", "quint8", 100),
    "batch_norm_qint8": lambda: norm("batch_norm", "qint8", 60),
    "group_norm_quint8": lambda: norm("group_norm", "quint8", 100),
    "instance_norm_quint8": lambda: norm("instance_norm", "quint8", 100),
    "layer_norm_quint8": lambda: norm("layer_norm", "quint8", 100),
    "interpolate_nearest_quint8": lambda: interpolate("nearest", "quint8", 120),
    "interpolate_bilinear_quint8": lambda: interpolate("bilinear", "quint8", 110),
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
        family = FAMILIES[name]()
        family.write(args.out, exact=not (args.report_only or isinstance(family, Steps)))


if __name__ == "__main__":
    main()
