"""One library in a process of its own: answers the same lines as `qconfig-peer serve`.

    peer.py LIBRARY CPUS
    load WORK.json THREADS      -> ok VERSION
    run TIMES                   -> nanoseconds of each run
    output FILE                 -> ok; the first output as float32

WORK.json names the model file and the inputs. Nothing is imported before its time, so that a cold
start can be measured: `first WORK.json` answers with milliseconds from before the library's import to
the first answer, and with the memory that took.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def peak_memory() -> int:
    """Most bytes this process has had in memory."""
    # `ru_maxrss` would count the process that this one was forked from
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def arrays(work: dict) -> list[np.ndarray]:
    """The inputs, in order."""
    return [np.load(path) for path in work["inputs"]]


class OnnxRuntime:
    """Inputs and outputs are bound once: a run copies nothing."""

    def load(self, work: dict, threads: int) -> str:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(work["onnx"], options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        values = arrays(work)
        for spec, value in zip(self.session.get_inputs(), values, strict=True):
            self.binding.bind_ortvalue_input(spec.name, ort.OrtValue.ortvalue_from_numpy(value))
        for spec in self.session.get_outputs():
            self.binding.bind_output(spec.name, "cpu")
        return ort.__version__

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def output(self) -> np.ndarray:
        return self.binding.copy_outputs_to_cpu()[0]


class OpenVino:
    """Reads the same ONNX file as onnxruntime."""

    def load(self, work: dict, threads: int) -> str:
        import openvino as ov

        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.model = ov.Core().compile_model(work["onnx"], "CPU", config)
        self.request = self.model.create_infer_request()
        self.inputs = arrays(work)
        for index, value in enumerate(self.inputs):
            self.request.set_input_tensor(index, ov.Tensor(value, shared_memory=True))
        return ov.__version__.split("-")[0]

    def run(self) -> None:
        self.request.infer()

    def output(self) -> np.ndarray:
        return self.request.get_output_tensor(0).data


class LiteRt:
    """The .tflite model, on XNNPACK."""

    def load(self, work: dict, threads: int) -> str:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(work["tflite"], num_threads=threads)
        self.interpreter.allocate_tensors()
        for spec, value in zip(self.interpreter.get_input_details(), arrays(work), strict=True):
            if work["kind"] == "network":
                value = np.ascontiguousarray(value.transpose(0, 2, 3, 1))
            if value.dtype == np.uint8 and spec["dtype"] == np.int8:
                value = (value.astype(np.int16) - 128).astype(np.int8)
            self.interpreter.set_tensor(spec["index"], value.reshape(spec["shape"]))
        return ai_edge_litert.__version__

    def run(self) -> None:
        self.interpreter.invoke()

    def output(self) -> np.ndarray:
        spec = self.interpreter.get_output_details()[0]
        value = self.interpreter.get_tensor(spec["index"])
        if value.dtype == np.int8:
            value = (value.astype(np.int16) + 128).astype(np.uint8)
        return value


class Torch:
    """`torch.ao.quantization`, with one of its engines."""

    def __init__(self, engine: str):
        self.engine = engine

    def load(self, work: dict, threads: int) -> str:
        import torch

        import as_torch

        torch.set_num_threads(threads)
        torch.backends.quantized.engine = self.engine
        self.torch = torch
        self.call = as_torch.load(work, self.engine, arrays(work))
        return torch.__version__

    def run(self) -> None:
        with self.torch.inference_mode():
            self.result = self.call()

    def output(self) -> np.ndarray:
        result = self.result
        return (result.int_repr() if result.is_quantized else result).contiguous().numpy()


LIBRARIES = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "litert": LiteRt,
    "torch-qnnpack": lambda: Torch("qnnpack"),
    "torch-x86": lambda: Torch("x86"),
    "torch-onednn": lambda: Torch("onednn"),
}


def first(library, work: dict) -> dict:
    """A cold start: import, load, one answer."""
    before, start = peak_memory(), time.perf_counter_ns()
    library.load(work, 1)
    library.run()
    library.output()
    elapsed = time.perf_counter_ns() - start
    return {"ms": elapsed / 1e6, "bytes": peak_memory() - before}


def main() -> None:
    # models and libraries print what they like; answers go where only the driver reads
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[2].split(",")])
    library = LIBRARIES[sys.argv[1]]()
    for line in sys.stdin:
        match line.split():
            case ["load", path, threads]:
                answer = "ok " + library.load(json.load(open(path)), int(threads))
                library.run()
            case ["run", times]:
                run, clock, taken = library.run, time.perf_counter_ns, []
                for _ in range(int(times)):
                    start = clock()
                    run()
                    taken.append(clock() - start)
                answer = " ".join(map(str, taken))
            case ["output", path]:
                np.ascontiguousarray(library.output(), np.float32).tofile(path)
                answer = "ok"
            case ["first", path]:
                answer = json.dumps(first(library, json.load(open(path))))
            case _:
                raise SystemExit(f"{line!r} is no request")
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main()
