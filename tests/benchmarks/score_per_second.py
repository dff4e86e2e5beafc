"""Score per second: `python -m tests.benchmarks.score_per_second OUT.jsonl [--home HOME] [--prompts 12] [--seeds 3]`.

Embedded pack: FuseDream as published (10,000 candidates, 1,000 steps, 50 views) against the default, and against the
default without a bank. One JSON line a run, appended to OUT; a line that is there is not run again, so a stop costs one
run. The score is the judge's AugCLIP on 64 views that nobody climbed, the time CPU seconds. The curve of the default
says when it first reached what the published one ended with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.batcher import Batcher
from engine.latents import Latents
from engine.methods import METHODS, Found
from engine.methods.found import cosines
from engine.ops import EncodeImages, EncodeText, EncodeViews, Launch, Preprocess, Progress, Render, Tower
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Method, Params, Parity, State
from tests.benchmarks.common import keep, machine, table
from tests.benchmarks.contact_sheet import prompts

JUDGED, JUDGE_SEED = 64, 77
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "no bank": {"bank": False},
    "published": {"parity": Parity.FUSEDREAM, "candidates": 10_000, "steps": 1_000},
}


class Bench:
    """A runner that remembers what was shown, and when."""

    def __init__(self, home: Path | None) -> None:
        self.runner = ModelRunner(find_packs(), choose_device(EngineSettings()), home / "cache" if home else None)
        self.space = self.runner.space("embedded")
        self.shown: list[tuple[float, Latents]] = []
        self.known: dict[str, NDArray[np.float64]] = {}  # embeddings by the draws they are of; last the time they took
        self.credit = 0.0  # CPU seconds that a run costs beyond those spent in it

    def run(self, prompt: str, seed: int, way: str) -> dict[str, Any]:
        """One dream: CPU seconds and judged score at its end, and of every picture that it showed on the way."""
        params = Params(prompt=prompt, seed=seed, method=Method.FUSEDREAM, **WAYS[way])
        size = self.space.bank.size if self.space.bank is not None and way == "default" else 0
        space = self.space.at(size)
        began, self.shown = time.process_time(), []
        self.credit = 0.0

        def launch(launch: Launch) -> list[Any]:
            replies = self.drawn(launch) if way == "published" else self.runner.run(launch)
            if isinstance(launch.ops[0], Render):
                self.shown.append((time.process_time() - began + self.credit, launch.ops[0].latents))
            return replies

        batcher = Batcher(
            run=launch, start=lambda j, past: METHODS[j.params.method].run(j, space, past), room=1, step_s=9
        )
        batcher.add(Job(id="a", caller=Caller(user="", name=""), params=params, state=State.RUNNING, created_at=0.0))
        while batcher.has_work:
            for happening in batcher.step():
                if not isinstance(happening.what, Progress | Found):
                    raise happening.what
        seconds = time.process_time() - began + self.credit
        scores = [(at, self.judged(prompt, latents)) for at, latents in self.shown]
        return {"prompt": prompt, "seed": seed, "way": way, "seconds": seconds, "score": scores[-1][1], "curve": scores}

    def drawn(self, launch: Launch) -> list[Any]:
        """The published search draws the same for every prompt: embedded once a seed, its time counted every time.

        The embedding that only our store wants, beside the one that ranks as published, is left out.
        """
        op = launch.ops[0]
        if not isinstance(op, EncodeImages) or op.rows == 1:
            return self.runner.run(launch)
        if op.preprocess is not Preprocess.FUSEDREAM:
            return [np.zeros((one.rows, self.space.word_embeddings.shape[1]), np.float16) for one in launch.ops]
        key = hashlib.sha256(op.latents.z.tobytes() + op.latents.classes.tobytes()).hexdigest()
        before = time.process_time()
        if key not in self.known:
            (found,) = self.runner.run(launch)
            self.known[key] = np.append(found.astype(np.float64), time.process_time() - before)
        rows, spent = self.known[key][:-1], float(self.known[key][-1])
        self.credit += spent - (time.process_time() - before)
        return [rows.reshape(op.rows, -1).astype(np.float16)]

    def keep_drawn(self, path: Path) -> None:
        """So that the next start need not embed them again."""
        with path.open("wb") as file:
            np.savez(file, **self.known)  # type: ignore[arg-type]

    def judged(self, prompt: str, latents: Latents) -> float:
        """The judge's AugCLIP."""
        text = self.runner.run(Launch((EncodeText("embedded", (prompt,), Tower.JUDGE),)))[0].embeddings[0]
        views = EncodeViews("embedded", latents, JUDGE_SEED, 0, JUDGED, JUDGED, Tower.JUDGE)
        return float(cosines(self.runner.run(Launch((views,)))[0], text).mean())


def summary(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each way: how much sooner it reached the published end, and how often it ended at or above it."""
    ends = {(line["prompt"], line["seed"]): line for line in lines if line["way"] == "published"}
    rows = []
    for way in WAYS:
        mine = [line for line in lines if line["way"] == way and (line["prompt"], line["seed"]) in ends]
        ratios, above = [], 0
        for line in mine:
            end = ends[line["prompt"], line["seed"]]
            reached = [at for at, score in line["curve"] if score >= end["score"]]
            ratios += [end["seconds"] / reached[0]] if reached else []
            above += line["score"] >= end["score"]
        rows.append(
            {
                "way": way,
                "runs": len(mine),
                "cpu_s": statistics.median(line["seconds"] for line in mine) if mine else None,
                "score": statistics.median(line["score"] for line in mine) if mine else None,
                "reached_it": len(ratios),
                "times_sooner": statistics.median(ratios) if ratios else None,
                "ends_at_or_above": above,
            }
        )
    return rows


def main() -> None:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    asked = parser.parse_args()
    there = asked.out.read_text(encoding="utf-8").splitlines() if asked.out.is_file() else []
    lines = [json.loads(line) for line in there]
    done = {(line["prompt"], line["seed"], line["way"]) for line in lines}
    bench, drawn = Bench(asked.home), asked.out.with_suffix(".draws.npz")
    if drawn.is_file():
        with np.load(drawn) as kept:
            bench.known = {key: kept[key] for key in kept}
    known = len(bench.known)
    for seed in range(asked.seeds):
        for prompt in prompts("twelve")[: asked.prompts]:
            for way in asked.ways:
                if (prompt, seed, way) not in done:
                    lines.append(bench.run(prompt, seed, way) | {"machine": machine()})
                    if len(bench.known) > known:
                        known = len(bench.known)
                        bench.keep_drawn(drawn)
                    with asked.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(lines[-1]) + "\n")
    rows = summary(lines)
    table(rows)
    keep("score_per_second", {"bank": bench.space.bank.built if bench.space.bank else 0, "rows": rows})


if __name__ == "__main__":
    main()
