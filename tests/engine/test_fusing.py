"""Many jobs' ops as one launch: the bits that each has alone, in both dtypes, on both packs (the shipped one: long)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.latents import LatentSpace
from engine.launches import Launch
from engine.ops import Climb, EncodeImages, EncodeViews, Op, Render, Tower
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings

SETS = [
    ("tiny", "bf16"),
    ("tiny", "fp32"),
    pytest.param(("embedded", "bf16"), marks=pytest.mark.long),
    pytest.param(("embedded", "fp32"), marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=SETS)
def device(request: pytest.FixtureRequest, tiny_folder: Path) -> tuple[ModelRunner, LatentSpace]:
    """A pack on the CPU in one dtype."""
    name, dtype = request.param
    runner = ModelRunner(find_packs(tiny_folder), choose_device(EngineSettings(device="cpu", dtype=dtype, threads=1)))
    return runner, runner.space(name)


def alone_and_together(runner: ModelRunner, ops: list[Op]) -> tuple[list[Any], list[Any]]:
    """Every op's reply in a launch of its own, and in one launch with the others."""
    return [runner.run(Launch((op,)))[0] for op in ops], runner.run(Launch(tuple(ops)))


def test_climbs_of_many_jobs_are_one_batch(device: tuple[ModelRunner, LatentSpace]) -> None:
    """Different prompts, pictures and numbers of views: score and gradients are equal to the last bit."""
    runner, space = device
    drawn = [space.draw(7, range(5), [n]) for n in range(5)]
    ops: list[Op] = [
        Climb(space.pack, drawn[n], space.word_embeddings[n], n, 8 * n, views)
        for n, views in enumerate((8, 4, 16, 3, 10))
    ]
    for one, many in zip(*alone_and_together(runner, ops), strict=True):
        assert one.score == many.score
        assert (one.z == many.z).all()
        assert (one.y == many.y).all()


def test_views_and_renders_of_many_jobs_are_one_batch(device: tuple[ModelRunner, LatentSpace]) -> None:
    """The same holds without a gradient."""
    runner, space = device
    drawn = [space.draw(7, range(5), [n]) for n in range(3)]
    views: list[Op] = [EncodeViews(space.pack, one, 0, 0, 16, 16) for one in drawn]
    renders: list[Op] = [Render(space.pack, one) for one in drawn]
    judged: list[Op] = [EncodeImages(space.pack, one, 4, Tower.JUDGE) for one in drawn]
    for ops in (views, renders, judged):
        for one, many in zip(*alone_and_together(runner, ops), strict=True):
            assert (one == many).all()
