"""`python -m engine evaluate`: run the trials that are missing, then print tables and draw plots of all.

Knows the command's words and files. What a trial is and what a table shows stand in the modules beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.catalog import Folders
from engine.evaluate import tables
from engine.evaluate.bench import Bench
from engine.evaluate.photographs import Photographs, look_at
from engine.evaluate.plots import draw
from engine.evaluate.results import Results, Row
from engine.evaluate.trials import Trial, Way, plan, prompts, search_ways
from engine.evaluate.ways import method_ways, pair_ways
from engine.packs import Pack, find_packs, pick
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.errors import UserError


def evaluate(settings: EngineSettings, folders: Folders, chosen: argparse.Namespace) -> int:
    """Everything, resumable. UserError for a wrong word."""
    pack = pick(find_packs(settings.packs, folders.kept), chosen.pack)
    if chosen.seeds < 1 or chosen.candidates < 3 or chosen.steps < 1:
        raise UserError("seeds and steps are at least 1 and candidates at least 3.")
    asked = prompts(chosen.prompts)
    ways = _ways(pack, chosen)
    device = choose_device(settings)
    bench = Bench(ModelRunner({pack.name: pack}, device, folders.cache), pack.name)
    results = _results(chosen, pack, {"bank": bench.space.bank_size} | device.trace)
    _run(bench, plan(asked, chosen.seeds, ways), results, chosen.candidates)
    try:
        real = look_at(pack, device, asked)
    except ValueError as error:
        real = None
        _say(f"{error} Figures beside photographs are left out.")
    _show(results, real, chosen.table, chosen.out, as_json=chosen.json)
    return 0


def _results(chosen: argparse.Namespace, pack: Pack, trace: Mapping[str, Any]) -> Results:
    """The file of rows; UserError where it was made with other settings."""
    header = {"pack": pack.digest, "scorer": pack.scorer.digest, "judge": pack.judge.digest}
    asked = {"candidates": chosen.candidates, "steps": chosen.steps}
    try:
        return Results(chosen.out / "trials.jsonl", header | asked | dict(trace))
    except ValueError as error:
        raise UserError(str(error)) from error


def _ways(pack: Pack, chosen: argparse.Namespace) -> tuple[Way, ...]:
    labels = len(pack.labels)
    if chosen.table == "csc2516":
        ways = search_ways(labels)
    else:
        ways = pair_ways(chosen.steps) if chosen.prompts == "pairs" else method_ways(labels, chosen.steps)
    if not chosen.ways:
        return ways
    words, names = [word.strip() for word in chosen.ways.split(",")], {way.name for way in ways}
    some = tuple(
        w for w in ways if any(w.name == word or (word not in names and w.name.startswith(word)) for word in words)
    )
    if not some:
        raise UserError(f"ways begin with one of {', '.join(way.name for way in ways)}; {chosen.ways!r} fits none.")
    return some


def _run(bench: Bench, trials: Sequence[Trial], results: Results, candidates: int) -> None:
    missing = [trial for trial in trials if trial.key not in results]
    for number, trial in enumerate(missing, 1):
        results.add(bench.run(trial, candidates))
        _say(f"{number} of {len(missing)}: {trial.way.name}, seed {trial.seed}, {trial.prompt.text}")


def _show(results: Results, real: Photographs | None, table: str, out: Path, *, as_json: bool) -> None:
    rows = results.rows
    found = tables.csc2516(rows, real) if table == "csc2516" else tables.methods(rows, _baseline(rows), real)
    results.write_csv(out / "trials.csv")
    (out / f"{table}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    files = draw(rows, out)
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in found) if as_json else tables.as_text(found)
    sys.stdout.write(f"{text}\n")
    _say(f"written: {', '.join(str(path) for path in (out / 'trials.csv', out / f'{table}.json', *files))}")


def _baseline(rows: Sequence[Row]) -> str:
    """What gains are measured against: search by all labels, or whatever was run first."""
    ways = tables.ways_of(rows)
    return next((way for way in ways if way.endswith("(all)")), ways[0])


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
