"""Promises of the figures: what they say of pictures that are right, alike or the photographs themselves."""

import json

import pytest
import torch

from engine.training import figures
from engine.training.figures import Seen
from engine.training.table import Figure, as_json, as_table
from engine.training.watch import tile


def test_a_set_has_no_distance_to_itself() -> None:
    """The Fréchet distance is zero there, and grows by the square of a shift."""
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    own = figures.moments(x)
    assert figures.frechet(own, own) == pytest.approx(0, abs=1e-6)
    assert figures.frechet(own, figures.moments(x + torch.tensor([3.0, 0, 0, 0, 0]))) == pytest.approx(9, rel=1e-4)


def test_copies_have_no_variety() -> None:
    """A collapsed class reads zero; orthogonal features read the square root of two."""
    pooled = torch.cat([torch.ones(4, 8), torch.eye(8)[:4]])
    spread = figures.variety(Seen(pooled, pooled), torch.arange(8) // 4)
    assert spread[0] == pytest.approx(0, abs=1e-3)
    assert spread[1] == pytest.approx(2**0.5, rel=1e-4)


def test_identity_looks_only_among_the_packs_classes() -> None:
    """A larger logit outside the pack does not count."""
    logits = torch.tensor([[9.0, 1, 0], [9.0, 1, 0], [9.0, 0, 1], [9.0, 1, 0]])
    rates = figures.identity(Seen(logits, logits), torch.tensor([0, 0, 1, 1]), torch.tensor([1, 2]))
    assert rates.tolist() == [1.0, 0.5]


def test_a_bar_has_a_sense() -> None:
    """Table and JSON say which figures miss theirs."""
    rows = [Figure("identity", 0.9, 0.8), Figure("distance", 5.0, 4.0, "at most"), Figure("plain", 1.0)]
    assert [row.passes for row in rows] == [True, False, True]
    assert as_table(rows).splitlines()[2].endswith("BELOW")
    assert json.loads(as_json(rows))["distance"]["passes"] is False


def test_a_sheet_reads_line_by_line() -> None:
    """The second picture stands right of the first, the third below it."""
    pictures = torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    sheet = tile(pictures, 2)
    assert sheet.size == (4, 4)
    assert [sheet.getpixel(place) for place in ((0, 0), (2, 0), (0, 2))] == [
        (0, 0, 0),
        (128, 128, 128),
        (255, 255, 255),
    ]
