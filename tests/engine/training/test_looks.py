"""Promises of further looks: which colours are missed, that a learned row comes nearer, and that old rows stay."""

import tomllib
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.generators.embedded import EmbeddedGenerator, Shape
from engine.training.colours import COLOURS, colour_pixels
from engine.training.looks import HERE, Goal, Wanted, lacking, learn, widened


def _shares(**shares: float) -> np.ndarray[Any, Any]:
    return np.array([[shares.get(name, 0.0) for name in COLOURS]])


def test_a_colour_is_missed_that_photographs_have_and_looks_have_not() -> None:
    """The most missed first, and one that no look leads in; not a rare one, not a shade, and no more than asked for."""
    have = _shares(red=0.20, blue=0.12, orange=0.04, yellow=0.10, green=0.10, gray=0.5, white=0.08)
    looks = np.stack([_shares(yellow=0.6, green=0.2), _shares(blue=0.04, green=0.2)], 1)
    all_of_them = [Wanted(0, "red"), Wanted(0, "blue"), Wanted(0, "white"), Wanted(0, "green")]
    assert lacking(have, looks, least=0.07, lack=0.5, most=9) == all_of_them
    assert lacking(have, looks, least=0.07, lack=0.5, most=1) == [Wanted(0, "red")]


def test_the_pixels_of_a_colour_are_the_middles() -> None:
    """A red border does not count as red."""
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    picture[...] = (200, 20, 20)
    picture[:, 2:6, 2:6] = (20, 20, 200)
    assert len(colour_pixels(picture, "red")) == 0
    assert colour_pixels(picture, "blue").shape == (16, 3)


class MeanColour:
    """A network that sees the mean colour and nothing else."""

    device = torch.device("cpu")

    def __call__(self, x: Tensor) -> Any:
        pooled = x.mean((2, 3))
        return SimpleNamespace(pooled=pooled, logits=torch.cat([pooled, 1 - pooled], 1))


def _generator() -> EmbeddedGenerator:
    torch.manual_seed(0)
    small = EmbeddedGenerator(Shape(("a", "b"), 2, 8, 8, (8, 8, 8, 8, 8)))
    return small.requires_grad_(False)


def test_a_learned_row_comes_nearer() -> None:
    """Its loss falls, every row on its own."""
    plan = tomllib.loads((HERE / "looks.toml").read_text())
    plan["first"] = {"steps": 1, "pictures": 2, "lr": 0.0}
    plan["then"] = {"steps": 20, "pictures": 2, "lr": 0.1}
    aim = Goal(torch.tensor([0, 1]), 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.9, 0.1, 0.1]), torch.ones(3))
    generator, net = _generator(), MeanColour()
    rows = generator.embedding.weight[:2].clone()
    _, before = learn(generator, net, aim, rows, plan, "first")  # type: ignore[arg-type]
    moved, after = learn(generator, net, aim, rows, plan, "then")  # type: ignore[arg-type]
    assert (after < before).all()
    assert not torch.equal(moved, rows)


def test_old_looks_stay_where_too_few_are_learned() -> None:
    """Own rows first, then what was learned, then the own ones again; no other weight changes."""
    generator, row = _generator(), torch.ones(8)
    wider = widened(generator, {Wanted(1, "red"): row}, 4)
    old = generator.embedding.weight.view(2, 2, 8)
    new = wider.embedding.weight.view(2, 4, 8)
    assert torch.equal(new[:, :2], old)
    assert torch.equal(new[1, 2], row)
    assert torch.equal(new[1, 3], old[1, 1])
    assert torch.equal(new[0, 2:], old[0].flip(0))
    assert torch.equal(wider.start.weight, generator.start.weight)
