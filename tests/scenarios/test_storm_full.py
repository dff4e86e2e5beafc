"""Crash storm A: the promise."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.scenarios.storm_full import storm_a

log = logging.getLogger(__name__)


@pytest.mark.parametrize(
    ("seconds", "kills", "each", "crowd", "dreams"),
    [
        pytest.param(60, 20, 5, 6, 40, id="short"),
        pytest.param(600, 300, 60, 12, 1_000, id="full", marks=pytest.mark.long),
    ],
)
async def test_storm_a(tmp_path: Path, seconds: float, kills: int, each: int, crowd: int, dreams: int) -> None:
    """0 acknowledged dreams lost, 0 delivered twice, 0 broken pictures, a sound store, however often who dies."""
    figures = await storm_a(tmp_path / "home", seconds=seconds, kills=kills, each=each, crowd=crowd)
    log.warning("storm A: %s", figures)
    assert figures["acknowledged"] >= dreams
