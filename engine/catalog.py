"""The engine's verbs: what packs there are, whether their files are whole, what this machine can do.

Runs as a child of the terminal, which passes output and exit status through; knows no jobs and no store.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bars import Bars
from engine.errors import BadWeights
from engine.packs import Pack, find_packs, pick, read_pack
from engine.settings import EngineSettings
from storage.errors import UserError


@dataclass(frozen=True, slots=True)
class Folders:
    """Of the home: what was added and pulled, and what can be made again."""

    kept: Path
    cache: Path


def packs(settings: EngineSettings, folders: Folders, what: str, name: str | None, *, as_json: bool) -> int:
    """`packs list | info NAME | pull NAME | verify [NAME] | add FILE`; exit status 1 where a file is not as it should.

    What a pull brought, a running engine knows after its next start.
    """
    found = find_packs(settings.packs, folders.kept)
    if what == "pull":
        return _pull(_one(found, name), folders.kept, as_json)
    if what == "add":
        return _add(name, found, folders.kept, as_json)
    if what == "list":
        return _tell((_summary(pack) for pack in found.values() if pack.offered), as_json)
    if what == "info":
        pack = _one(found, name)
        row = _summary(pack) | _details(pack) | _sheet(pack, settings, folders.cache)
        return _tell([row], as_json, between="\n")
    chosen = [pick(found, name)] if name else [pack for pack in found.values() if pack.here]
    checked = [_verified(pack) for pack in chosen]
    _tell(checked, as_json)
    return 0 if all(row["whole"] for row in checked) else 1


def doctor(settings: EngineSettings, folders: Folders, *, as_json: bool) -> int:
    """One row a check: the device, its numbers, the libraries, every pack's files."""
    import open_clip
    import torch

    from engine.runner import choose_device

    device = choose_device(settings)
    rows = [
        _check("device", device.name, True),
        _check("numbers", f"{device.trace['dtype']}, {device.threads} threads", True),
        _check("torch", f"{torch.__version__}, open_clip {open_clip.__version__}", True),
        *(
            _check(f"pack {row['name']}", row["fault"] or "whole", row["whole"])
            for row in _all_verified(settings, folders)
        ),
    ]
    _tell(rows, as_json)
    return 0 if all(row["ok"] for row in rows) else 1


def _one(found: Mapping[str, Pack], name: str | None) -> Pack:
    if name is None:
        raise UserError(f"Which pack? One of {', '.join(sorted(found))}.")
    return pick(found, name)


def _pull(pack: Pack, kept: Path, as_json: bool) -> int:
    """Bring what is missing, with a bar a file on standard error."""
    from engine.pull import pull

    with Bars() as bars:
        came = pull(pack, kept, bars.told, _imagenet_labels)
    pack = read_pack(pack.toml, kept) if pack.toml else pack
    row = _verified(pack) | {"pulled": [str(path) for path in came]}
    _tell([row], as_json)
    return 0 if row["whole"] else 1


def _imagenet_labels() -> list[tuple[str, list[str]]]:
    from engine.clip import imagenet_labels  # open_clip: seconds to import

    return imagenet_labels()


def _add(toml: str | None, found: dict[str, Pack], kept: Path, as_json: bool) -> int:
    from engine.pull import add

    if toml is None:
        raise UserError("Which file? A pack is added by its TOML.")
    return _tell([_summary(add(Path(toml), found, kept))], as_json)


def _all_verified(settings: EngineSettings, folders: Folders) -> list[dict[str, Any]]:
    """What has not been pulled is no fault of this machine's."""
    return [_verified(pack) for pack in find_packs(settings.packs, folders.kept).values() if pack.here]


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
    return {
        "name": pack.name,
        "title": pack.title,
        "resolution": pack.resolution,
        "labels": len(pack.labels),
        "megabytes": _megabytes(pack),
        "licence": pack.licence,
        "here": pack.here,
    }


def _megabytes(pack: Pack) -> float:
    """Of all its files; of those that are not here yet, what their source is said to weigh."""
    sizes = [file.size or (file.source and file.source.expected_size) or 0 for file in pack.files]
    return round(sum(sizes) / 1e6, 1)


def _details(pack: Pack) -> dict[str, Any]:
    return {
        "digest": pack.digest if pack.here else None,
        "scorer_digest": pack.scorer.digest if pack.here else None,
        "judge_digest": pack.judge.digest if pack.here else None,
        "methods": [method.value for method in pack.methods] if pack.here else [],
        "sources": [file.source.place for file in pack.files if file.source],
        "label_names": [label.name for label in pack.labels],
    }


def _sheet(pack: Pack, settings: EngineSettings, cache: Path) -> dict[str, Any]:
    """The world as a picture, drawn by the pack itself; of a pulled pack with its thousand labels it takes too long."""
    if not pack.shipped:
        return {"sheet": None}
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
