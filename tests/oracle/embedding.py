"""Record torch's tables of rows: packing, lookups and bags, in eight and four bits.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/embedding.py

writes `tests/golden/numerics/embedding_{byte,4bit}.npz`; tests/oracle/README.md describes them. Sums are
torch's quantized operators; means and maxima, which these do not have whatever mode the module asks for, are
the float `torch.nn.functional.embedding_bag` over the values that the rows stand for.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch.ao.quantization import (float_qparams_weight_only_qconfig,
                                   float_qparams_weight_only_qconfig_4bit)

from numerics import OPS, Family, f32, pick


def prepack(bits, w):
    op = OPS.embedding_bag_byte_prepack if bits == 8 else OPS.embedding_bag_4bit_prepack
    return op(torch.from_numpy(w)).numpy()


def decode(bits, rows, columns):
    """Scale, bias and integers of packed rows."""
    if bits == 8:
        q = rows[:, :columns].astype(f32)
        ends = np.ascontiguousarray(rows[:, columns:]).view(f32)
    else:
        data = rows[:, :-4]
        q = np.stack([data & 15, data >> 4], 2).reshape(len(rows), -1)[:, :columns].astype(f32)
        ends = np.ascontiguousarray(rows[:, -4:]).view(np.float16).astype(f32)
    return ends[:, :1], ends[:, 1:], q


def fma(a, b, c):
    """In f32; the product is exact in f64, and the sum of these magnitudes rounds once or is checked."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(f32)


def bags(bits, cases):
    fam = Family("embedding_byte" if bits == 8 else "embedding_4bit", op="embedding_bag", bits=bits)
    rng = fam.rng
    for i in range(cases):
        n = int(rng.randint(1, 9))
        d = pick(rng, 2, 4, 6, 8, 8, 10, 16, 18) if i % 25 else pick(rng, 64, 72)
        reach = float(np.exp(rng.uniform(-5, 2)))
        w = ((rng.randn(n, d) + pick(rng, 0, 0, 1, -2)) * reach).astype(f32)
        if i % 30 == 7:
            w[0] = w[0, 0]
        module = i % 2 == 1
        arrays = dict(w=w)
        if module:
            qconfig = float_qparams_weight_only_qconfig if bits == 8 else float_qparams_weight_only_qconfig_4bit
            observer = qconfig.weight()
            observer(torch.from_numpy(w))
            s, z = observer.calculate_qparams()
            q = torch.quantize_per_channel(torch.from_numpy(w), s, z, 0, observer.dtype)
            packed = OPS.embedding_bag_prepack(q)
            rows = OPS.embedding_bag_unpack(packed)
            # the bytes as they are packed: torch shows them only through the lookup
            ints = q.int_repr().numpy()
            if bits == 4:
                ints = ints.reshape(n, d // 2)
                ints = np.stack([ints & 15, ints >> 4], 2).reshape(n, -1)[:, :d]
            s, z = s.numpy().astype(f32), z.numpy().astype(f32)
            arrays.update(q=ints.astype(np.uint8), scales=s, zero_points=z)
            bias = -(z * s)
            if bits == 8:
                rows = np.concatenate([ints.astype(np.uint8), np.stack([s, bias], 1).view(np.uint8).reshape(n, 8)], 1)
            else:
                data = (ints[:, 0::2] | ints[:, 1::2] << 4).astype(np.uint8)
                ends = np.stack([s, bias], 1).astype(np.float16).view(np.uint8).reshape(n, 4)
                rows = np.concatenate([data, ends], 1)
        else:
            rows = prepack(bits, w)
        rows = np.ascontiguousarray(rows)
        arrays.update(rows=rows)
        mode = ["sum", "sum", "lookup", "mean", "max"][i % 5]
        count = int(rng.randint(1, 16))
        indices = rng.randint(0, n, count).astype(np.int32)
        include_last, weights, offsets = False, None, None
        if mode == "lookup":
            offsets = np.arange(count, dtype=np.int32)
        else:
            cuts = np.sort(rng.randint(0, count + 1, int(rng.randint(0, 5))))
            offsets = np.concatenate([[0], cuts]).astype(np.int32)
            include_last = bool(rng.rand() < 0.5)
            if include_last:
                offsets = np.concatenate([offsets, [count]]).astype(np.int32)
            if mode == "sum" and rng.rand() < 0.5:
                weights = rng.uniform(-1, 2, count).astype(f32)
        t_rows = torch.from_numpy(rows)
        if module:
            t_rows = packed
            op = OPS.embedding_bag_byte if bits == 8 else OPS.embedding_bag_4bit
        else:
            op = OPS.embedding_bag_byte_rowwise_offsets if bits == 8 else OPS.embedding_bag_4bit_rowwise_offsets
        kind = pick(rng, torch.int32, torch.int64)
        args = dict(per_sample_weights=None if weights is None else torch.from_numpy(weights),
                    include_last_offset=include_last)
        scale, shift, q = decode(bits, rows, d)
        if mode in ("sum", "lookup"):
            y = op(t_rows, torch.from_numpy(indices).to(kind), torch.from_numpy(offsets).to(kind), **args).numpy()
        else:
            real = fma(scale, q, shift)
            y = F.embedding_bag(torch.from_numpy(indices).long(), torch.from_numpy(real),
                                torch.from_numpy(offsets).long(), mode=mode,
                                include_last_offset=include_last).numpy()
        y = y[:, :d]
        ends = offsets.tolist() + ([] if include_last else [count])
        want = []
        for start, end in zip(ends, ends[1:]):
            acc = np.zeros(d, f32)
            for at in range(start, end):
                one = f32(1) if weights is None else weights[at]
                row = indices[at]
                if mode == "max":
                    value = fma(scale[row], q[row], shift[row])
                    acc = value if at == start else np.maximum(acc, value)
                else:
                    acc = fma(one * scale[row], q[row], acc + one * shift[row])
            if mode == "mean" and end > start:
                acc = acc / f32(end - start)
            want.append(acc)
        want = np.stack(want)
        if mode == "mean":
            # torch adds the values, not the terms
            assert np.allclose(y, want, rtol=1e-5, atol=1e-6 * np.abs(w).max()), np.abs(y - want).max()
        else:
            fam.check(y, want)
        arrays.update(indices=indices, offsets=offsets, weights=weights, y=y)
        fam.add(arrays, mode=mode, module=module, include_last_offset=include_last)
    return fam


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "golden" / "numerics"
    for bits in (8, 4):
        bags(bits, 250).write(folder)


if __name__ == "__main__":
    main()
