"""Measures qconfig beside other libraries, in one run, and writes BENCHMARKS.md.

    python3 benches/peers/run.py [--venv FOLDER] [--rows NAME,..] [--peers NAME,..] [--threads 1,2]
                                 [--rounds 30] [--output BENCHMARKS.md]

Makes a Python environment (some 7 GB, most of it torch's CUDA libraries, which it cannot do without)
and the models under target/peers, then gives every library a block of runs in turn. Close what else
runs on the machine first. Linux only: processes are pinned.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# signal to noise against the float model below which an output is wrong
WRONG_DB = 8.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--venv", type=Path, default=ROOT / "target/peers/venv")
    parser.add_argument("--work", type=Path, default=ROOT / "target/peers/models")
    parser.add_argument("--rows", default="")
    parser.add_argument("--peers", default="")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=ROOT / "BENCHMARKS.md")
    parser.add_argument("--remark", default="", help="a sentence for the report's head")
    return parser.parse_args()


def enter_venv(folder: Path) -> None:
    """Goes on in the environment, made where it is missing."""
    python = folder.absolute() / "bin/python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = HERE / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "-r", requirements], check=True)
    os.execv(python, [str(python), *sys.argv])


def build() -> Path:
    """The worker."""
    subprocess.run(["cargo", "build", "--release", "-p", "qconfig-benches"], check=True, cwd=ROOT)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release/qconfig-peer"


class Bench:
    """Models, processes and results of one run."""

    def __init__(self, options):
        self.options = options
        self.worker = build()
        self.folder = options.work.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = cpu_flags()
        self.reduce_range = not ({"avx512_vnni", "avx_vnni"} & flags)

    def command(self, *words) -> str:
        made = subprocess.run([self.worker, *words], check=True, text=True, capture_output=True)
        return made.stdout

    def make(self, row) -> None:
        """The row's files for every library."""
        import numpy as np
        from safetensors.numpy import load_file

        import as_onnx

        base = self.folder / row.name
        network = row.kind == "network"
        if network:
            self.command("export", row.name, self.folder)
            self.command("save", row.name, f"{base}.plan")
        else:
            self.command("layer", row.name, self.folder)
        tensors = load_file(f"{base}.safetensors")
        qparams = [] if network else json.loads(Path(f"{base}.json").read_text())["qparams"]
        keys = ["input"] if network else sorted(key for key in tensors if key.startswith("input."))
        inputs = []
        for at, key in enumerate(keys):
            value = tensors[key]
            if qparams:
                q = qparams[at]
                value = np.rint(value / q["scale"] + q["zero_point"]).astype(np.uint8)
            elif row.kind.startswith("embedding"):
                value = value.astype(np.int64)
            np.save(f"{base}.{at}.npy", value)
            inputs.append(f"{base}.{at}.npy")
        if network:
            tensors["input"].tofile(f"{base}.input")
            if "onnxruntime" in self.peers(row) or "openvino" in self.peers(row):
                as_onnx.make_network(self.folder, row.name, self.reduce_range)
        elif row.kind not in ("fp16", "embedding8", "embedding4"):
            as_onnx.make_layer(self.folder, row.name, row.kind, qparams, self.reduce_range)
        np.save(f"{base}.expected.npy", tensors["output"])
        work = {
            "name": row.name,
            "kind": row.kind,
            "folder": str(self.folder),
            "inputs": inputs,
            "qparams": qparams,
            "onnx": f"{base}.int8.onnx" if network else f"{base}.onnx",
            "tflite": f"{base}.tflite",
        }
        Path(f"{base}.work").write_text(json.dumps(work))
        if "litert" in self.peers(row):
            # in a process of its own: TensorFlow stays in memory
            code = (
                "import sys; from pathlib import Path; import numpy as np; import as_tflite\n"
                "folder, name, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
                "if kind == 'network':\n"
                "    np.save(folder / f'{name}.tflite.npy', as_tflite.make_network(folder, name))\n"
                "else:\n"
                "    as_tflite.make_layer(folder, name, kind)\n"
            )
            command = [sys.executable, "-c", code, self.folder, row.name, row.kind]
            made = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
            if made.returncode:
                print(f"  no .tflite of {row.name}: {made.stderr.strip().splitlines()[-1]}")

    def peers(self, row) -> list[str]:
        chosen = [name for name in self.options.peers.split(",") if name]
        return [name for name in row.peers if not chosen or name in chosen]

    def check(self, row, entry, peer) -> None:
        """Signal to noise of the peer's output against its own float model."""
        import numpy as np

        from bench import sqnr

        path, base = self.folder / "found", self.folder / row.name
        peer.ask(f"output {path}")
        work = json.loads(Path(f"{base}.work").read_text())
        expected = np.load(f"{base}.expected.npy")
        if entry.peer == "litert" and row.kind == "network":
            expected = np.load(f"{base}.tflite.npy")
        if entry.peer == "qconfig" and work["qparams"]:
            found = np.fromfile(path, np.uint8).astype(np.float32)
        else:
            found = np.fromfile(path, np.float32)
        if work["qparams"]:
            q = work["qparams"][-1]
            if entry.peer == "litert":
                # the converter chose its own scale; the shape of the signal is what can be compared
                found = fit(found, expected.ravel())
            else:
                found = q["scale"] * (found - q["zero_point"])
        if found.size != expected.size:
            entry.problem = f"{found.size} values, not {expected.size}"
            return
        entry.check = float(sqnr(expected, found))
        if not entry.check > WRONG_DB:
            entry.problem = "its output is wrong: speed only"

    def row(self, row, threads: int) -> dict:
        """Everything of one row and one number of threads."""
        from bench import Entry, Peer, alternate, python_peer

        base = self.folder / row.name
        cpus = list(range(os.cpu_count() or 1))
        cpus = cpus[-1:] if threads == 1 else cpus[:threads]
        pairs = [(Entry("qconfig"), Peer("qconfig", [str(self.worker), "serve"], cpus))]
        pairs += [(Entry(name), python_peer(name, cpus)) for name in self.peers(row)]
        ready, failed = [], []
        for entry, peer in pairs:
            files = f"{base}.plan {base}.input" if entry.peer == "qconfig" else f"{base}.work"
            try:
                entry.version = peer.ask(f"load {files} {threads}").removeprefix("ok ")
                self.check(row, entry, peer)
                ready.append((entry, peer))
            except (RuntimeError, ValueError, FileNotFoundError) as problem:
                entry.problem = str(problem).splitlines()[-1][:300]
                failed.append(entry)
        alternate(ready, self.options.rounds)
        for _, peer in pairs:
            peer.close()
        mine = ready[0][0]
        result = {"row": row.name, "title": row.title, "aim": row.aim, "threads": threads}
        result["work"] = row.work
        result["libraries"] = [
            {
                "name": entry.peer,
                "version": entry.version,
                "median_ns": entry.median,
                "minimum_ns": entry.minimum,
                "ratio": entry.ratio(mine),
                "sqnr_db": entry.check,
                "problem": entry.problem,
            }
            for entry, _ in ready
        ] + [{"name": entry.peer, "problem": entry.problem} for entry in failed]
        return result


    def cold(self, name: str, aim: float, peers: list[str], times: int) -> dict:
        """From a cold start to the first answer: for qconfig, a process from its start to its end; for
        the others, from before the import of the library, in a process where Python and NumPy run
        already. Files are in the system's cache."""
        from bench import python_peer

        base = self.folder / name
        cpus = [(os.cpu_count() or 1) - 1]
        everywhere = os.sched_getaffinity(0)
        runs = {"qconfig": [], **{peer: [] for peer in peers}}
        problems = {}
        for _ in range(times):
            for peer in runs:
                if peer in problems:
                    continue
                try:
                    if peer == "qconfig":
                        os.sched_setaffinity(0, cpus)
                        runs[peer].append(self.first(f"{base}.plan", f"{base}.input"))
                        os.sched_setaffinity(0, everywhere)
                        continue
                    process = python_peer(peer, cpus)
                    answer = json.loads(process.ask(f"first {base}.work"))
                    process.close()
                    runs[peer].append((answer["ms"] * 1e6, answer["bytes"]))
                except (RuntimeError, ValueError) as problem:
                    problems[peer] = str(problem).splitlines()[-1][:300]
        median = lambda values: statistics.median(values)
        mine = median([ns for ns, _ in runs["qconfig"]])
        libraries = [
            {
                "name": peer,
                "median_ns": median([ns for ns, _ in taken]),
                "minimum_ns": min(ns for ns, _ in taken),
                "ratio": median([ns for ns, _ in taken]) / mine,
                "bytes": median([size for _, size in taken]),
            }
            for peer, taken in runs.items()
            if taken
        ]
        return {"aim": aim, "times": times, "libraries": libraries, "problems": problems}

    def first(self, plan: str, image: str) -> tuple[float, int]:
        """Nanoseconds and peak memory of one process that loads a plan and answers once."""
        command = [str(self.worker), "first", plan, image]
        start = time.perf_counter_ns()
        made = subprocess.run(command, check=True, text=True, capture_output=True)
        elapsed = time.perf_counter_ns() - start
        # its own word: what the kernel says of a child counts the parent that it was forked from
        return elapsed, int(made.stdout.split()[-1])


def fit(found, expected):
    """The affine image of `found` that is nearest to `expected`."""
    import numpy as np

    slope, offset = np.polyfit(found.astype(np.float64), expected.astype(np.float64), 1)
    return slope * found + offset


def cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def machine() -> dict:
    """What was measured on."""
    import bench

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    field = lambda name: next((l.split(":")[1].strip() for l in lines if l.startswith(name)), "")
    flags = cpu_flags()
    wanted = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_vbmi", "amx_int8"]
    return {
        "cpu": field("model name"),
        "family": f"family {field('cpu family')}, model {field('model')}",
        "instructions": [flag for flag in wanted if flag in flags],
        "cpus": os.cpu_count(),
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg()[0],
        "block_ms": 1000 * bench.BLOCK_SECONDS,
    }


def save(folder: Path, output: Path, results: dict) -> None:
    """The figures for programs, and the report."""
    from report import report

    (folder / "results.json").write_text(json.dumps(results, indent=1))
    output.write_text(report(results))


def main() -> None:
    options = arguments()
    enter_venv(options.venv)
    sys.path.insert(0, str(HERE))
    from report import show
    from rows import COLD, COLD_AIM, EVERY, ROWS

    made = Bench(options)
    chosen = [name for name in options.rows.split(",") if name]
    results = {"machine": machine(), "rounds": options.rounds, "remark": options.remark, "rows": []}
    results["reduce_range"] = made.reduce_range
    results["peak_gops"] = float(made.command("peak"))
    for row in ROWS:
        if chosen and row.name not in chosen:
            continue
        print(f"{row.title}: making models", flush=True)
        made.make(row)
        for threads in map(int, options.threads.split(",")):
            results["rows"].append(made.row(row, threads))
            print(show(results["rows"][-1]), flush=True)
            # a run that is stopped leaves what it has
            save(made.folder, options.output, results)
    if not chosen or "cold" in chosen:
        print("cold start", flush=True)
        results["cold"] = made.cold(COLD, COLD_AIM, [p for p in EVERY if "torch-o" not in p], 7)
    results["peak_gops"] = max(results["peak_gops"], float(made.command("peak")))
    results["load_after"] = os.getloadavg()[0]
    save(made.folder, options.output, results)


if __name__ == "__main__":
    main()
