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
from torch.nn import functional

from engine.augment import augment, draw_views
from engine.batcher import Batcher
from engine.clip import Clip
from engine.methods import METHODS, Found
from engine.ops import Launch, Progress, Render
from engine.packs import Pack, find_packs
from engine.runner import Device, LoadedPack, ModelRunner, choose_device
from engine.settings import EngineSettings
from engine.training import figures
from engine.training.colours import COLOURS, middle_colours
from engine.training.data import tiny_imagenet_indices
from engine.training.features import BACKGROUND, MobileNet
from engine.training.table import Figure
from engine.training.vocabulary import load_prompts
from engine.training.world import load_world
from storage.job import Caller, Job, Params, State

NAME, SEED, CANDIDATES = "embedded", 7, 100
STEPS, VIEWS, RATE = 40, 8, 0.02  # of the ascent
BARS = {"best of 100": 0.92, "colours": 9, "bytes": 40_000_000, "load": 1.0, "draw": 3.0, "ascent": 0.5}


def measure(folder: Path, cache: Path, sheets: Path) -> list[Figure]:
    """Best of 100 by identity and colour, size and speed, and whether ascent helps the judge, too."""
    pack = find_packs()[NAME]
    runner = ModelRunner({NAME: pack}, choose_device(EngineSettings(threads=torch.get_num_threads())))
    loading = _seconds(lambda: runner.space(NAME))
    lists = load_prompts()
    plain = [_search(runner, row["prompt"]) for row in lists["plain"]]
    drawing = _seconds(lambda: _search(runner, "a photo of a lemon"))
    return [
        *_identity(runner, folder, lists["plain"], plain),
        _colours(runner, lists["colour"]),
        Figure("pack bytes", _size(pack), BARS["bytes"], "at most"),
        Figure("load seconds", loading, BARS["load"], "at most"),
        Figure("seconds for 100 candidates", drawing, BARS["draw"], "at most"),
        *_ascent(pack, lists["plain"], plain, runner),
    ]


def _search(runner: ModelRunner, prompt: str) -> Found:
    """The engine's own search of one prompt, without store or queue."""
    space = runner.space(NAME)
    batcher = Batcher(
        run=runner.run, start=lambda job, past: METHODS[job.params.method].run(job, space, past), room=1, step_s=60.0
    )
    params = Params(prompt=prompt, seed=SEED, pack=NAME, candidates=CANDIDATES)
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
    """Is the best picture what was asked for; and is candidate 0, as the floor."""
    net = MobileNet.load(folder)
    names = [label.name for label in load_world()]
    outputs = torch.tensor([tiny_imagenet_indices(folder)[label.tiny] + BACKGROUND for label in load_world()])
    wanted = torch.tensor([names.index(row["label"]) for row in rows])
    space = runner.space(NAME)
    unranked = [runner.run(Launch((Render(NAME, space.redraw(SEED, one.candidates[0])),)))[0][0] for one in found]
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
    pictures = _best([_search(runner, row["prompt"]) for row in rows])
    named = np.array([COLOURS.index(row["colour"]) for row in rows])
    return Figure(f"colours right of {len(rows)}", float((middle_colours(pictures) == named).sum()), BARS["colours"])


def _ascent(pack: Pack, rows: Sequence[Mapping[str, Any]], found: Sequence[Found], runner: ModelRunner) -> list[Figure]:
    """Gradients reach z and y, and climbing the scorer from the best candidate raises the judge's score as well."""
    device = Device(torch.device("cpu"), torch.float32, torch.get_num_threads())
    loaded, space = LoadedPack(pack, device), runner.space(NAME)
    risen, least = [], float("inf")
    for row, one in zip(rows, found, strict=True):
        latents = space.redraw(SEED, one.candidates[one.pictures[0].candidate])
        z = torch.from_numpy(latents.z).requires_grad_()
        y = loaded.generator.embed(torch.from_numpy(latents.classes)).clone().requires_grad_()
        before = _judged(loaded, z, y, row["prompt"])
        least = min(least, _climb(loaded, z, y, row["prompt"]))
        risen.append(_judged(loaded, z, y, row["prompt"]) > before)
    return [
        Figure("least gradient of z and y", least, 1e-8),
        Figure("ascent raises the judge", float(np.mean(risen)), BARS["ascent"]),
    ]


def _climb(loaded: LoadedPack, z: Tensor, y: Tensor, prompt: str) -> float:
    """FuseDream-like: Adam on AugCLIP over fresh views. The first step's smallest gradient norm."""
    text = _text(loaded.scorer, prompt)
    adam = torch.optim.Adam([z, y], lr=RATE)
    least = float("inf")
    for step in range(STEPS):
        views = augment(loaded.generator(z, y).expand(VIEWS, -1, -1, -1), draw_views(SEED, step * VIEWS, VIEWS))
        loss = -(loaded.scorer.encode_images(views) @ text).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 0:
            least = min(float(leaf.grad.norm()) for leaf in (z, y) if leaf.grad is not None)
        adam.step()
    return least


@torch.no_grad()
def _judged(loaded: LoadedPack, z: Tensor, y: Tensor, prompt: str) -> float:
    return float(loaded.judge.encode_images(loaded.generator(z, y)) @ _text(loaded.judge, prompt))


def _text(clip: Clip, prompt: str) -> Tensor:
    return functional.normalize(torch.from_numpy(clip.encode_text([prompt] + [""] * 15)[0]).clone(), dim=0)


def _size(pack: Pack) -> float:
    return float(sum(path.stat().st_size for path in pack.generator.path.parent.iterdir()))


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
