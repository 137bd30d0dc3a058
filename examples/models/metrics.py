"""How far outputs are from those of the float model. One piece of code judges every library."""

from pathlib import Path

import numpy as np


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    """Signal to quantization noise: 10 log10(sum f^2 / sum (f - q)^2), in f64."""
    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    noise = np.sum((wanted - got) ** 2)
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(wanted**2) / noise))


def compare(wanted: np.ndarray, got: np.ndarray, labels: np.ndarray | None = None) -> dict:
    """Logits [N, classes] of the float model and of another."""
    if wanted.shape != got.shape:
        raise SystemExit(f"shapes differ: {list(wanted.shape)} and {list(got.shape)}")
    wanted, got = (x.reshape(len(x), -1) for x in (wanted, got))
    top, ours = wanted.argmax(1), got.argmax(1)
    each = [decibels(f, q) for f, q in zip(wanted, got)]
    out = {
        "samples": len(wanted),
        "agree": int(np.sum(top == ours)),
        "sqnr_db": decibels(wanted, got),
        "sqnr_mean_db": float(np.mean(each)),
        "largest_difference": float(np.abs(wanted - got).max()),
        "relative_to_largest": float(np.abs(wanted - got).max() / np.abs(wanted).max()),
    }
    if labels is not None:
        known = labels >= 0
        out["labelled"] = int(known.sum())
        out["right_float"] = int(np.sum(top[known] == labels[known]))
        out["right"] = int(np.sum(ours[known] == labels[known]))
    return out


def line(m: dict) -> str:
    text = (
        f"agrees {m['agree']} of {m['samples']} ({100 * m['agree'] / m['samples']:.2f} %), "
        f"SQNR {m['sqnr_db']:.2f} dB over all, {m['sqnr_mean_db']:.2f} dB mean, "
        f"largest difference {m['largest_difference']:.3g} ({m['relative_to_largest']:.2g} of the largest)"
    )
    if "right" in m:
        text += f", right {m['right']} of {m['labelled']} (float {m['right_float']})"
    return text


def load(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def edits(wanted: list, got: list) -> int:
    """Levenshtein distance."""
    row = list(range(len(got) + 1))
    for i, w in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, g in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (w != g))
    return row[-1]
