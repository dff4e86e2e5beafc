"""Figures of the whole shipped pack at work: prompts in, pictures out, through the engine's own search.

It knows the pack, the fixed prompts and the classifier; it does not know how the weights were trained. The classifier
is the one that guided the training: identity is a figure of agreement with it, not of beauty. A person looks, too.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.batcher import Batcher
from engine.launches import Launch
from engine.methods import METHODS, Found, Picture
from engine.ops import Climb, EncodeText, Progress, Render, Slope
from engine.packs import Pack, find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from engine.training import figures
from engine.training.colours import COLOURS, middle_colours
from engine.training.data import tiny_imagenet_indices
from engine.training.features import BACKGROUND, MobileNet
from engine.training.table import Figure
from engine.training.vocabulary import load_prompts
from engine.training.world import load_world
from storage.job import Caller, Job, Method, Params, State

NAME, SEED, CANDIDATES = "embedded", 7, 100
STEPS = 60  # of the ascent
BARS = {"best of 100": 0.92, "colours": 9, "bytes": 40_000_000, "load": 1.0, "draw": 3.0, "ascent": 0.5}


def measure(folder: Path, cache: Path, sheets: Path) -> list[Figure]:
    """Best of 100 by identity and colour, size and speed, and whether ascent helps the judge, too."""
    pack = find_packs()[NAME]
    runner = ModelRunner({NAME: pack}, choose_device(EngineSettings(threads=torch.get_num_threads())))
    loading = _seconds(lambda: runner.space(NAME))
    lists = load_prompts()
    plain = [_dream(runner, row["prompt"]) for row in lists["plain"]]
    drawing = _seconds(lambda: _dream(runner, "a photo of a lemon"))
    return [
        *_identity(runner, folder, lists["plain"], plain),
        _colours(runner, lists["colour"]),
        Figure("pack bytes", _size(pack), BARS["bytes"], "at most"),
        Figure("load seconds", loading, BARS["load"], "at most"),
        Figure("seconds for 100 candidates", drawing, BARS["draw"], "at most"),
        *_ascent(runner, lists["plain"], plain),
    ]


def _dream(runner: ModelRunner, prompt: str, method: Method = Method.SEARCH) -> Found:
    """The engine's own method on one prompt, without store or queue."""
    space = runner.space(NAME)
    batcher = Batcher(
        run=runner.run, start=lambda job, past: METHODS[job.params.method].run(job, space, past), room=1, step_s=60.0
    )
    params = Params(prompt=prompt, seed=SEED, pack=NAME, candidates=CANDIDATES, method=method, steps=STEPS)
    batcher.add(Job(id="figure", caller=Caller(user="", name=""), params=params, state=State.RUNNING, created_at=0.0))
    while True:
        for happening in batcher.step():
            if isinstance(happening.what, Found):
                return happening.what
            if not isinstance(happening.what, Progress):
                raise happening.what


def _identity(
    runner: ModelRunner, folder: Path, rows: Sequence[Mapping[str, Any]], found: Sequence[Found]
) -> list[Figure]:
    """Is the best picture what was asked for; and is a candidate that nothing ranked, as the floor."""
    net = MobileNet.load(folder)
    names = [label.name for label in load_world()]
    outputs = torch.tensor([tiny_imagenet_indices(folder)[label.tiny] + BACKGROUND for label in load_world()])
    wanted = torch.tensor([names.index(row["label"]) for row in rows])
    space = runner.space(NAME)
    unranked = [
        runner.run(Launch((Render(NAME, space.redraw(SEED, one.candidates[place])),)))[0][0]
        for place, one in enumerate(found)  # a number has one place in the label prior, so each prompt takes its own
    ]
    best, floor = (_right(net, pictures, wanted, outputs) for pictures in (_best(found), np.stack(unranked)))
    chosen = [max(one.candidates, key=lambda c: c.clip_score or 0.0).label for one in found]
    picked = float(np.mean([label == row["label"] for label, row in zip(chosen, rows, strict=True)]))
    return [
        Figure("best of 100 is right", best, BARS["best of 100"], floor=floor),
        Figure("best of 100 has the label", picked),
    ]


def _right(net: MobileNet, pictures: NDArray[np.uint8], wanted: Tensor, outputs: Tensor) -> float:
    seen = figures.see(net, torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous())
    return float((seen.logits[:, outputs].argmax(1) == wanted).float().mean())


def _best(found: Sequence[Found]) -> NDArray[np.uint8]:
    return np.stack([one.pictures[0].pixels for one in found if one.pictures[0].pixels is not None])


def _colours(runner: ModelRunner, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How many of the colour prompts' best pictures have the named colour in their middle."""
    pictures = _best([_dream(runner, row["prompt"]) for row in rows])
    named = np.array([COLOURS.index(row["colour"]) for row in rows])
    return Figure(f"colours right of {len(rows)}", float((middle_colours(pictures) == named).sum()), BARS["colours"])


def _ascent(runner: ModelRunner, rows: Sequence[Mapping[str, Any]], found: Sequence[Found]) -> list[Figure]:
    """Gradients reach z and y; and FuseDream, which climbs the scorer alone, raises the judge's score as well."""
    space = runner.space(NAME)
    latents = space.redraw(SEED, found[0].candidates[0])
    text = runner.run(Launch((EncodeText(NAME, (rows[0]["prompt"],)),)))[0].embeddings[0]
    slope: Slope = runner.run(Launch((Climb(NAME, latents, text, SEED, 0, 8),)))[0]
    climbed = [_dream(runner, row["prompt"], Method.FUSEDREAM).pictures[0] for row in rows]
    before = [one.pictures[0] for one in found]
    return [
        Figure("least gradient of z and y", float(min(np.linalg.norm(slope.z), np.linalg.norm(slope.y))), 1e-6),
        Figure("fusedream raises the judge", _share(climbed, before, "judge_score"), BARS["ascent"]),
        Figure("fusedream raises AugCLIP", _share(climbed, before, "augclip_score")),
    ]


def _share(after: Sequence[Picture], before: Sequence[Picture], score: str) -> float:
    return float(np.mean([getattr(a, score) > getattr(b, score) for a, b in zip(after, before, strict=True)]))


def _size(pack: Pack) -> float:
    return float(sum(path.stat().st_size for path in pack.scorer.weights.path.parent.iterdir()))


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
