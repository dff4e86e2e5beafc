"""The bank: `python -m tests.benchmarks.bank [--entries 1000000] [--width 256]`.

How fast draws become entries (embedded pack), how long the nearest of a million take and what memory that needs, and
what a kill -9 in the middle of a build leaves. The baseline of the search is the same product chunk by chunk in fp32.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bank import BLOCK, Bank, _sealed
from tests.benchmarks.common import keep, table

TIMES = 9


def filled(path: Path, entries: int, width: int) -> Bank:
    """A bank of random unit vectors. Blocks are written without a wait for the disk each."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for number in range(-(-entries // BLOCK)):
            rows = rng.standard_normal((BLOCK, width), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            file.write(_sealed(rows.astype(np.float16), number))
    return Bank(path, width)


def in_fp32(bank: Bank, text: NDArray[np.float32]) -> NDArray[np.float32]:
    """The plain way: sixteen blocks at a time."""
    numbers = np.arange(bank.built)
    parts = [
        bank.rows(numbers[at : at + 16 * BLOCK]).astype(np.float32) @ text for at in range(0, bank.built, 16 * BLOCK)
    ]
    return np.concatenate(parts)


def searched(entries: int, width: int) -> dict[str, Any]:
    """Milliseconds of an exact search for the best hundred, least and median; and what the process grew by."""
    with tempfile.TemporaryDirectory() as folder:
        bank = filled(Path(folder) / "random.bank", entries, width)
        text = np.random.default_rng(1).standard_normal(width).astype(np.float32)
        text /= np.linalg.norm(text)
        before = _resident()
        best, wall, cpu = bank.best(text, 100), [], []
        grown = _resident() - before
        for _ in range(TIMES):
            began, spent = time.perf_counter(), time.process_time()
            bank.best(text, 100)
            wall.append((time.perf_counter() - began) * 1e3)
            cpu.append((time.process_time() - spent) * 1e3)
        began = time.perf_counter()
        plain = in_fp32(bank, text)
        baseline = (time.perf_counter() - began) * 1e3
        return {
            "entries": bank.built,
            "width": width,
            "least_ms": min(wall),
            "median_ms": float(np.median(wall)),
            "cpu_ms": min(cpu),
            "fp32_ms": baseline,
            "ratio": baseline / min(wall),
            "megabytes": round(bank.path.stat().st_size / 1e6),
            "resident_megabytes": round(grown / 1e6),
            "same_hundred": bool((np.sort(plain[best]) == np.sort(np.sort(plain)[-100:])).all()),
        }


def built(entries: int) -> dict[str, Any]:
    """`bank build` of the embedded pack, killed in the middle, then finished."""
    with tempfile.TemporaryDirectory() as folder:
        home = os.environ | {"DREAMBOT_HOME": folder}
        command = [sys.executable, "-m", "engine", "bank", "build", "--size", str(entries), "--json"]
        child = subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (paths := list(Path(folder).rglob("*.bank"))) or paths[0].stat().st_size < 3 * BLOCK * 256 * 2:
            time.sleep(0.05)
            if child.poll() is not None:
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
        left = Bank(paths[0], 256).built
        with paths[0].open("ab") as file:
            file.write(b"torn" * 99)
        began, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(command, env=home, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - spent
        whole = Bank(paths[0], 256).built
    added = whole - left
    return {"after_kill": left, "added": added, "seconds": seconds, "a_second": added / seconds, "cpu_s": cpu}


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--build", type=int, default=8_192, help="entries to build; 0 leaves that out")
    asked = parser.parse_args()
    rows = [searched(asked.entries, width) for width in asked.width]
    table(rows)
    made = built(asked.build) if asked.build else None
    if made is not None:
        table([made])
    keep("bank", {"search": rows, "build": made})


if __name__ == "__main__":
    main()
