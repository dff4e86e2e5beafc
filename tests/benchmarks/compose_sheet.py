"""Eight pairs composed in one sheet: `python -m tests.benchmarks.compose_sheet`, the embedded pack.

For each pair: the best of a search for the whole prompt, the composite, and the GAN's own picture nearest to it. Writes
results/compose-sheet.png and .json, to be looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from engine.batcher import Batcher
from engine.methods import METHODS, Found
from engine.ops import Progress
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Method, Params, State

RESULTS = Path(__file__).with_name("results")
PAIRS = (
    "a goldfish | a mountain lake",
    "a ladybug | a beach by the sea",
    "a monarch butterfly | snowy mountains",
    "a lion | a beach by the sea",
    "a lemon | a coral reef",
    "a red panda | a suspension bridge",
    "a king penguin | an old wooden barn",
    "a teapot | a mountain lake",
)
SEED, STEPS, SIDE, TEXT = 7, 80, 128, 28


def dream(runner: ModelRunner, prompt: str, method: Method, keep: int) -> Found:
    """One job, without store or queue."""
    batcher = Batcher(
        run=runner.run,
        start=lambda job, past: METHODS[job.params.method].run(job, runner.space("embedded"), past),
        room=1,
        step_s=60.0,
    )
    params = Params(prompt=prompt, seed=SEED, method=method, keep=keep, steps=STEPS)
    caller = Caller(user="sheet", name="sheet")
    batcher.add(Job(id="sheet", caller=caller, params=params, state=State.RUNNING, created_at=0.0))
    while True:
        for happening in batcher.step():
            if isinstance(happening.what, Found):
                return happening.what
            if not isinstance(happening.what, Progress):
                raise happening.what


def main() -> None:
    """Make the sheet."""
    packs = {"embedded": find_packs()["embedded"]}
    runner = ModelRunner(packs, choose_device(EngineSettings()))
    sheet = Image.new("RGB", (6 * SIDE, 4 * (SIDE + TEXT)), "white")
    draw, rows = ImageDraw.Draw(sheet), []
    for place, pair in enumerate(PAIRS):
        searched = dream(runner, pair, Method.SEARCH, 1).pictures[0]
        composed, whole = dream(runner, pair, Method.COMPOSE, 2).pictures
        left, top = place % 2 * 3 * SIDE, place // 2 * (SIDE + TEXT)
        row: dict[str, Any] = {"prompt": pair}
        for column, (name, picture) in enumerate((("search", searched), ("compose", composed), ("whole", whole))):
            assert picture.pixels is not None
            shown = Image.fromarray(picture.pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left + column * SIDE, top))
            row[name] = {score: getattr(picture, score) for score in ("clip_score", "augclip_score", "judge_score")}
            draw.text((left + column * SIDE + 2, top + SIDE + 13), f"{name} {picture.judge_score:.2f}", fill="black")
        draw.text((left + 2, top + SIDE + 1), pair, fill="black")
        rows.append(row)
        print(json.dumps(row), flush=True)
    sheet.save(RESULTS / "compose-sheet.png", optimize=True)
    (RESULTS / "compose-sheet.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
