"""The engine's verbs: what packs there are, whether their files are whole, what this machine can do.

Runs as a child of the terminal, which passes output and exit status through; knows no jobs and no store.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import BadWeights
from engine.packs import Pack, find_packs, pick
from engine.settings import EngineSettings
from storage.errors import UserError


def packs(settings: EngineSettings, cache: Path, what: str, name: str | None, *, as_json: bool) -> int:
    """`packs list | info NAME | verify [NAME]`; exit status 1 where a file is not what its pack says."""
    found = find_packs(settings.packs)
    if what == "list":
        return _tell((_summary(pack) for pack in found.values() if pack.offered), as_json)
    if name is None and what == "info":
        raise UserError(f"Which pack? One of {', '.join(sorted(found))}.")
    chosen = [pick(found, name)] if name else list(found.values())
    if what == "info":
        row = _summary(chosen[0]) | _details(chosen[0]) | _sheet(chosen[0], settings, cache)
        return _tell([row], as_json, between="\n")
    checked = [_verified(pack) for pack in chosen]
    _tell(checked, as_json)
    return 0 if all(row["whole"] for row in checked) else 1


def doctor(settings: EngineSettings, *, as_json: bool) -> int:
    """One row a check: the device, its numbers, the libraries, every pack's files."""
    import open_clip
    import torch

    from engine.runner import choose_device

    device = choose_device(settings)
    rows = [
        _check("device", device.name, True),
        _check("numbers", f"{device.trace['dtype']}, {device.threads} threads", True),
        _check("torch", f"{torch.__version__}, open_clip {open_clip.__version__}", True),
        *(_check(f"pack {row['name']}", row["fault"] or "whole", row["whole"]) for row in _all_verified(settings)),
    ]
    _tell(rows, as_json)
    return 0 if all(row["ok"] for row in rows) else 1


def _all_verified(settings: EngineSettings) -> list[dict[str, Any]]:
    return [_verified(pack) for pack in find_packs(settings.packs).values()]


def _verified(pack: Pack) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        pack.verify()
    except BadWeights as error:
        return {"name": pack.name, "whole": False, "fault": str(error), "seconds": None}
    return {"name": pack.name, "whole": True, "fault": None, "seconds": round(time.perf_counter() - began, 3)}


def _check(name: str, found: str, ok: bool) -> dict[str, Any]:
    return {"check": name, "found": found, "ok": ok}


def _summary(pack: Pack) -> dict[str, Any]:
    files = (pack.generator, pack.scorer.weights, pack.judge.weights)
    return {
        "name": pack.name,
        "title": pack.title,
        "resolution": pack.resolution,
        "labels": len(pack.labels),
        "megabytes": round(sum(file.size for file in files) / 1e6, 1),
        "licence": pack.licence,
    }


def _details(pack: Pack) -> dict[str, Any]:
    return {
        "digest": pack.digest,
        "scorer_digest": pack.scorer.digest,
        "judge_digest": pack.judge.digest,
        "label_names": [label.name for label in pack.labels],
    }


def _sheet(pack: Pack, settings: EngineSettings, cache: Path) -> dict[str, Any]:
    """The world as a picture, drawn by the pack itself."""
    from engine.runner import ModelRunner, choose_device
    from engine.world_sheet import write_world_sheet

    runner = ModelRunner({pack.name: pack}, choose_device(settings), cache)
    return {"sheet": str(write_world_sheet(pack, runner, cache))}


def _tell(rows: Iterable[dict[str, Any]], as_json: bool, between: str = "  ") -> int:
    for row in rows:
        shown = between.join(_shown(name, value) for name, value in row.items())
        sys.stdout.write((json.dumps(row) if as_json else shown) + "\n")
    return 0


def _shown(name: str, value: Any) -> str:
    return f"{name}: {', '.join(value) if isinstance(value, list) else value}"
