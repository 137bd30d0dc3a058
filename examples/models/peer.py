"""ONNX Runtime: float and its own int8, their outputs, every value in between, latency and cold start."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

# All per channel, 8-bit activations without sign: (file, format, weights, 7-bit weights, calibration).
# ONNX Runtime's own documentation asks for 7-bit or unsigned weights where the processor has AVX2 or
# AVX-512 but no VNNI, because its kernels saturate there.
MIN_MAX = CalibrationMethod.MinMax
VARIANTS = [
    ("qdq", QuantFormat.QDQ, QuantType.QInt8, False, MIN_MAX),
    ("qdq_reduce_range", QuantFormat.QDQ, QuantType.QInt8, True, MIN_MAX),
    ("qdq_u8u8", QuantFormat.QDQ, QuantType.QUInt8, False, MIN_MAX),
    ("qdq_entropy", QuantFormat.QDQ, QuantType.QInt8, False, CalibrationMethod.Entropy),
    ("qdq_percentile", QuantFormat.QDQ, QuantType.QInt8, False, CalibrationMethod.Percentile),
    ("qoperator", QuantFormat.QOperator, QuantType.QInt8, False, MIN_MAX),
    ("qoperator_reduce_range", QuantFormat.QOperator, QuantType.QInt8, True, MIN_MAX),
]


class Reader(CalibrationDataReader):
    """Samples one by one."""

    def __init__(self, name: str, data: np.ndarray):
        self.name, self.data = name, data
        self.set_range(0, len(data))

    def __len__(self):
        return len(self.data)

    def set_range(self, start_index: int, end_index: int):
        self.samples = iter(range(start_index, end_index))

    def get_next(self):
        at = next(self.samples, None)
        return None if at is None else {self.name: self.data[at : at + 1]}


def quantize(source: Path, data: np.ndarray, folder: Path) -> list[Path]:
    """Every variant, as `folder/int8_*.onnx`, by ONNX Runtime's own preprocessing and quantizer."""
    ready = folder / "preprocessed.onnx"
    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    name = onnx.load(ready).graph.input[0].name
    out = []
    for variant, form, weights, reduce_range, method in VARIANTS:
        to = folder / f"int8_{variant}.onnx"
        quantize_static(
            str(ready), str(to), Reader(name, data), quant_format=form, per_channel=True,
            reduce_range=reduce_range, activation_type=QuantType.QUInt8, weight_type=weights,
            calibrate_method=method, extra_options={"CalibStridedMinMax": 8},  # samples at a time: memory
        )
        out.append(to)
    ready.unlink()
    return out


def session(model, precise: bool = False, plain: bool = False) -> ort.InferenceSession:
    """One thread. `precise`: its option against saturation; `plain`: no rewrites of the graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(s: ort.InferenceSession, inputs: np.ndarray, batch: int = 1) -> list[np.ndarray]:
    """All outputs, samples of the one input in batches."""
    name = s.get_inputs()[0].name
    parts = [s.run(None, {name: inputs[i : i + batch]}) for i in range(0, len(inputs), batch)]
    return [np.concatenate(column) for column in zip(*parts)]


def expose(path: Path, which: str) -> tuple[onnx.ModelProto, list[str]]:
    """The model with its inner values as outputs: `all`, or only the `quantized` ones, which leaves
    ONNX Runtime free to fuse what it fuses otherwise."""
    model = onnx.load(path)
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    names = []
    for node in model.graph.node:
        for name in node.output:
            # operators outside the standard are unknown to shape inference; theirs are 8 bits, as their zero point's
            kind = kinds.get(name) or quantized_kind(model, node)
            if not name or not kind or which == "quantized" and kind not in (TensorProto.UINT8, TensorProto.INT8):
                continue
            names.append(name)
            if name not in {o.name for o in model.graph.output}:
                model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model, names


def quantized_kind(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    zero_points = {t.name: t.data_type for t in model.graph.initializer if t.data_type in (2, 3)}
    kinds = [zero_points[i] for i in node.input if i in zero_points]
    return kinds[-1] if kinds else 0


def values(path: Path, inputs: np.ndarray, which: str, **how) -> dict[str, np.ndarray]:
    """Inner values by name, of all samples one after the other (samples run one by one)."""
    model, names = expose(path, which)
    s = session(model, **how)
    (feed,) = s.get_inputs()
    parts = [s.run(names, {feed.name: inputs[i : i + 1]}) for i in range(len(inputs))]
    return {feed.name: inputs} | {
        name: np.concatenate(column) if np.ndim(column[0]) else np.stack(column)
        for name, column in zip(names, zip(*parts))
    }


def latency(sessions: dict[str, ort.InferenceSession], sample: np.ndarray, seconds: float) -> dict[str, dict]:
    """Milliseconds of one sample: sessions take turns in blocks of five runs, `seconds` in all."""
    times = {name: [] for name in sessions}
    end = time.perf_counter() + seconds
    for s in sessions.values():
        s.run(None, {s.get_inputs()[0].name: sample})
    while time.perf_counter() < end:
        for name, s in sessions.items():
            feed = {s.get_inputs()[0].name: sample}
            s.run(None, feed)  # brings its weights back into the cache
            for _ in range(5):
                start = time.perf_counter()
                s.run(None, feed)
                times[name].append((time.perf_counter() - start) * 1e3)
    return {n: {"runs": len(t), "median": statistics.median(t), "min": min(t)} for n, t in times.items()}


# A program for each library: as little as it takes from nothing to the first answer.
COLD = {
    "onnxruntime": """
import sys, numpy as np, onnxruntime as ort
o = ort.SessionOptions(); o.intra_op_num_threads = o.inter_op_num_threads = 1; o.log_severity_level = 3
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
s.run(None, {s.get_inputs()[0].name: np.load(sys.argv[2])})
""",
    "torch": """
import sys, torch
torch.set_num_threads(1)
m = torch.jit.load(sys.argv[1])
with torch.inference_mode(): m(torch.zeros(1, 3, 224, 224))
""",
    "python alone": "import numpy",
}


def cold(library: str, arguments: list[str], runs: int) -> dict:
    """Start of a process to its end, milliseconds, and its largest memory, MB. The first run, which
    brings files into the page cache, does not count."""
    times, memory = [], 0
    for at in range(runs + 1):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", COLD[library], *arguments])
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{library} failed")
        if at:
            times.append((time.perf_counter() - start) * 1e3)
            memory = max(memory, usage.ru_maxrss / 1024)
    return {"median": statistics.median(times), "min": min(times), "megabytes": memory, "runs": runs}
