"""Draws: named, frozen, and fair."""

from __future__ import annotations

import numpy as np
import pytest

from engine.rng import rng_for

FROZEN = [0.05648662592139081, 0.3962935242727364, 0.736385285129797, -1.906193293887613, 1.4539359967857488]


def test_words_and_normals_are_frozen_for_ever() -> None:
    """Five values: should one of them move, every recipe that people kept would draw another picture."""
    uniforms = rng_for(7, "z", 41).uniforms(3)
    normals = rng_for(7, "z", 41).normals(2)
    assert [*uniforms, *normals] == pytest.approx(FROZEN, rel=0, abs=1e-15)


def test_a_stream_depends_on_all_of_its_name() -> None:
    """Another seed, purpose or index is another stream."""
    streams = [rng_for(*name).uniforms(4).tolist() for name in [(7, "z", 0), (8, "z", 0), (7, "y", 0), (7, "z", 1)]]
    assert len({tuple(stream) for stream in streams}) == 4


def test_normals_are_standard() -> None:
    """Mean 0, variance 1, and the tails of a normal."""
    drawn = rng_for(1, "test", 0).normals(100_001)
    assert len(drawn) == 100_001
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert (np.abs(drawn) > 3).mean() == pytest.approx(0.0027, abs=0.001)


def test_below_reaches_every_number_and_no_other() -> None:
    """below(n) is in 0..n-1."""
    assert {rng_for(0, "test", i).below(5) for i in range(200)} == set(range(5))
