"""Alternation: several processes, one row of the table, small blocks in turn."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

# a block of runs lasts about this long
BLOCK_SECONDS = 0.04
# after a block, idle workers of the process may spin for a while
PAUSE_SECONDS = 0.01


class Peer:
    """A process that answers lines."""

    def __init__(self, name: str, command: list[str], cpus: list[int], env: dict | None = None):
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if not os.environ.get("PEERS_VERBOSE") else None,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )

    def ask(self, line: str) -> str:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        if not (answer := self.process.stdout.readline()):
            reason = self.process.stderr.read() if self.process.stderr else ""
            raise RuntimeError(f"{self.name} ended at `{line}`: {reason.strip()[-400:]}")
        return answer.strip()

    def run(self, times: int) -> list[int]:
        return [int(taken) for taken in self.ask(f"run {times}").split()]

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Entry:
    """What one library did in one row."""

    peer: str
    version: str = ""
    check: float | None = None
    problem: str = ""
    blocks: list[list[int]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(taken for block in self.blocks for taken in block)

    @property
    def minimum(self) -> int:
        return min(taken for block in self.blocks for taken in block)

    def ratio(self, other: "Entry") -> float:
        """How many times as long this one takes, block by block: what disturbs the machine for longer
        than a turn disturbs both."""
        pairs = zip(self.blocks, other.blocks)
        return statistics.median(
            statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs
        )


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise in decibels."""
    expected, found = expected.ravel().astype(np.float64), found.ravel().astype(np.float64)
    noise = np.square(expected - found).sum()
    return 10 * np.log10(np.square(expected).sum() / max(noise, 1e-30))


def alternate(entries: list[tuple[Entry, Peer]], rounds: int) -> None:
    """Gives each peer a block of runs in turn; who begins changes with each round."""
    times = {}
    for entry, peer in entries:
        warm = min(peer.run(3))
        times[entry.peer] = max(2, min(2000, int(BLOCK_SECONDS * 1e9 / warm)))
    for at in range(rounds):
        shift = at % len(entries)
        for entry, peer in entries[shift:] + entries[:shift]:
            entry.blocks.append(peer.run(times[entry.peer]))
            time.sleep(PAUSE_SECONDS)


def python_peer(library: str, cpus: list[int]) -> Peer:
    """A library behind `peer.py`."""
    env = {}
    if library == "torch-qnnpack":
        # its own threads fight with OpenMP's, which spin; engine x86 is slower without spinning
        env["GOMP_SPINCOUNT"] = "0"
    command = [sys.executable, str(HERE / "peer.py"), library, ",".join(map(str, cpus))]
    return Peer(library, command, cpus, env)
