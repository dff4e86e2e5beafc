"""What every benchmark says about where and when it ran, and how it prints and keeps its figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.readme_map import ROOT

RESULTS = Path(__file__).with_name("results")


def machine() -> dict[str, Any]:
    """Processor, its matrix units, cores, load, versions, commit."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": named[0] if named else platform.machine(),
        "amx": "amx_bf16" in flags,
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def keep(name: str, found: Mapping[str, Any]) -> None:
    """Write results/NAME-CORES-cores.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(ROOT)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same keys, columns aligned."""
    shown = [[_shown(value) for value in row.values()] for row in rows]
    heads = list(rows[0])
    widths = [max(len(head), *(len(line[i]) for line in shown)) for i, head in enumerate(heads)]
    for line in [heads, *shown]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
