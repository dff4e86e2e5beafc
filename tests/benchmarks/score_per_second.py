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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.batcher import Batcher
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import Found
from engine.methods.found import cosines
from engine.methods.fusedream import DEFAULT, Knobs, knobs, turned
from engine.ops import Climb, EncodeImages, EncodeText, EncodeViews, Preprocess, Progress, Render, Tower
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Method, Params, Parity, State
from tests.benchmarks.common import keep, machine, table
from tests.benchmarks.contact_sheet import prompts

JUDGED, JUDGE_SEED = 64, 77
DREAMS = 100  # among which a bank's build is shared out
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "no bank": {"bank": False},
    "published": {"parity": Parity.FUSEDREAM, "candidates": 10_000, "steps": 1_000},
}
IDEAS: dict[str, tuple[dict[str, Any], Knobs]] = {  # run by name only
    "wide look": ({"candidates": 1_000}, DEFAULT),
    "4 views": ({}, replace(DEFAULT, views=4)),
    "16 views": ({}, replace(DEFAULT, views=16)),
    "one basis": ({}, replace(DEFAULT, bases=1)),
    "steps of 0.05": ({}, replace(DEFAULT, rates=(0.05, 0.01, 0.1))),
}


class Bench:
    """A runner that remembers what was shown, and when."""

    def __init__(self, home: Path | None, draws: Path) -> None:
        self.runner = ModelRunner(find_packs(), choose_device(EngineSettings()), home / "cache" if home else None)
        self.space = self.runner.space("embedded")
        self.shown: list[tuple[float, Latents]] = []
        self.draws = draws
        self.known: dict[str, NDArray[np.float64]] = {}  # embeddings by the draws they are of; last the time they took
        if draws.is_file():
            with np.load(draws) as kept:
                self.known = {key: kept[key] for key in kept}
        self.kept = len(self.known)
        self.credit = 0.0  # CPU seconds that a run costs beyond those spent in it

    def run(self, prompt: str, seed: int, way: str) -> dict[str, Any]:
        """One dream: CPU seconds and judged score at its end, and of every picture that it showed on the way."""
        asked, knob = IDEAS.get(way, (WAYS.get(way, {}), None))
        params = Params(prompt=prompt, seed=seed, method=Method.FUSEDREAM, **asked)
        size = self.space.bank.size if self.space.bank is not None and way not in ("no bank", "published") else 0
        space = self.space.at(size)
        began, self.shown = time.process_time(), []
        self.credit = 0.0

        def launch(launch: Launch) -> list[Any]:
            replies = self.drawn(launch) if way == "published" else self.runner.run(launch)
            if isinstance(launch.ops[0], Render):
                self.shown.append((time.process_time() - began + self.credit, launch.ops[0].latents))
            return replies

        batcher = Batcher(run=launch, start=lambda j, past: turned(j, space, past, knob or knobs(j)), room=1, step_s=9)
        batcher.add(Job(id="a", caller=Caller(user="", name=""), params=params, state=State.RUNNING, created_at=0.0))
        while batcher.has_work:
            for happening in batcher.step():
                if not isinstance(happening.what, Progress | Found):
                    raise happening.what
        seconds = time.process_time() - began + self.credit
        seen = self.shown[-1:] if way == "published" else self.shown
        scores = [(at, self.judged(prompt, latents)) for at, latents in seen]
        return {"prompt": prompt, "seed": seed, "way": way, "seconds": seconds, "score": scores[-1][1], "curve": scores}

    def drawn(self, launch: Launch) -> list[Any]:
        """The published search draws the same for every prompt: embedded once a seed, its time counted every time.

        The embedding that only our store wants, beside the one that ranks as published, is left out.
        """
        op = launch.ops[0]
        if isinstance(op, Climb) and len(self.known) > self.kept:
            self.keep_drawn()
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

    def keep_drawn(self) -> None:
        """So that the next start need not embed them again."""
        self.kept = len(self.known)
        with self.draws.open("wb") as file:
            np.savez(file, **self.known)  # type: ignore[arg-type]

    def judged(self, prompt: str, latents: Latents) -> float:
        """The judge's AugCLIP."""
        text = self.runner.run(Launch((EncodeText("embedded", (prompt,), Tower.JUDGE),)))[0].embeddings[0]
        views = EncodeViews("embedded", latents, JUDGE_SEED, 0, JUDGED, JUDGED, Tower.JUDGE)
        return float(cosines(self.runner.run(Launch((views,)))[0], text).mean())


def summary(lines: list[dict[str, Any]], build_s: float) -> list[dict[str, Any]]:
    """A row for each way: how much sooner it reached the published end, and how often it ended at or above it.

    A run that never reached it is 0 times sooner. `gain`: what it ended with beyond the default, mean over pairs.
    """
    ends = {(line["prompt"], line["seed"]): line for line in lines if line["way"] == "published"}
    usual = {(line["prompt"], line["seed"]): line["score"] for line in lines if line["way"] == "default"}
    rows = []
    for way in [*WAYS, *IDEAS]:
        mine = [line for line in lines if line["way"] == way and (line["prompt"], line["seed"]) in ends]
        pairs = [(line, ends[line["prompt"], line["seed"]]) for line in mine]
        reached = [(_reached(line, end["score"]), end["seconds"]) for line, end in pairs]
        share = build_s / DREAMS if way not in ("no bank", "published") else 0.0
        ratios = [whole / at if at else 0.0 for at, whole in reached]
        amortised = [whole / (at + share) if at else 0.0 for at, whole in reached]
        every = [line for line in lines if line["way"] == way and (line["prompt"], line["seed"]) in usual]
        gains = [line["score"] - usual[line["prompt"], line["seed"]] for line in every]
        rows.append(
            {
                "way": way,
                "runs": len(mine),
                "cpu_s": statistics.median(line["seconds"] for line in mine) if mine else None,
                "score": statistics.median(line["score"] for line in mine) if mine else None,
                "reached_it": sum(at is not None for at, _ in reached),
                "times_sooner": statistics.median(ratios) if ratios else None,
                "with_its_share_of_the_bank": statistics.median(amortised) if amortised else None,
                "ends_at_or_above": sum(line["score"] >= end["score"] for line, end in pairs),
                "beside_default": len(gains),
                "all_cpu_s": statistics.median(line["seconds"] for line in every) if every else None,
                "gain": statistics.mean(gains) if gains else None,
            }
        )
    return rows


def _reached(line: dict[str, Any], score: float) -> float | None:
    """When a run first showed a picture of this score."""
    return next((at for at, shown in line["curve"] if shown >= score), None)


def main() -> None:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--build-s", type=float, default=111.0, help="CPU seconds that HOME's bank took")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=[*WAYS, *IDEAS])
    asked = parser.parse_args()
    there = asked.out.read_text(encoding="utf-8").splitlines() if asked.out.is_file() else []
    lines = [json.loads(line) for line in there]
    done = {(line["prompt"], line["seed"], line["way"]) for line in lines}
    bench = Bench(asked.home, asked.out.with_suffix(".draws.npz"))
    for seed in range(asked.seeds):
        for prompt in prompts("twelve")[: asked.prompts]:
            for way in asked.ways:
                if (prompt, seed, way) not in done:
                    lines.append(bench.run(prompt, seed, way) | {"machine": machine()})
                    with asked.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(lines[-1]) + "\n")
    rows = [row for row in summary(lines, asked.build_s) if row["beside_default"] or row["runs"]]
    table(rows)
    size = bench.space.bank.built if bench.space.bank else 0
    keep("score_per_second", {"bank": size, "bank_build_cpu_s": asked.build_s, "rows": rows})


if __name__ == "__main__":
    main()
