"""The verbs `bank build` and `bank info`: a bank grows in steady hands, beside a working engine or without one."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from engine.bank import BLOCK, Bank
from engine.catalog import Folders
from engine.growing import Growth
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.errors import UserError

MAX_SIZE = 100_000_000
TELL_S = 2.0


def bank(settings: EngineSettings, folders: Folders, asked: argparse.Namespace) -> int:
    """`bank build --size N` computes what is missing; both print one row about the bank of a pack."""
    name, wanted = asked.pack, asked.size
    if not 1 <= wanted <= MAX_SIZE:
        raise UserError(f"size is a whole number from 1 to {MAX_SIZE:,}; {wanted} is not.")
    packs = find_packs(settings.packs, folders.kept)
    runner = ModelRunner(packs, choose_device(settings), folders.cache)
    kept = runner.space(name).bank
    if kept is None:
        raise UserError(f"pack {name} has no generator to draw a bank with.")
    began, before = time.perf_counter(), kept.built
    if asked.what == "build":
        _build(runner, kept, name, wanted)
    row = _row(name, kept, time.perf_counter() - began, kept.built - before)
    shown = "  ".join(f"{key}: {value}" for key, value in row.items())
    sys.stdout.write((json.dumps(row) if asked.json else shown) + "\n")
    return 0


def _build(runner: ModelRunner, kept: Bank, name: str, wanted: int) -> None:
    growth, told = Growth(lambda: [name], runner.space, runner.run, wanted), time.monotonic()
    while growth.step():
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            sys.stderr.write(f"{kept.built:,} of {wanted:,} draws\n")


def _row(name: str, kept: Bank, seconds: float, added: int) -> dict[str, Any]:
    return {
        "pack": name,
        "entries": kept.built,
        "used": kept.size,
        "block": BLOCK,
        "megabytes": round(kept.path.stat().st_size / 1e6, 1) if kept.path.is_file() else 0.0,
        "added": added,
        "seconds": round(seconds, 2),
        "path": str(kept.path),
    }
