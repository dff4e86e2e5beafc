"""The ways that the table of methods compares: search as published and as people get it, and every other method with
its ablations. Knows names and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.evaluate.trials import Way, search_ways
from storage.job import Method, Parity

CLIMBS = (Method.FUSEDREAM, Method.COMPOSE)
TOKENED = 48  # candidates of clipgen, which draws them all: three launches
SEARCH, FUSEDREAM = Way("search", Method.SEARCH), Way("fusedream", Method.FUSEDREAM)


def method_ways(labels: int, steps: int) -> tuple[Way, ...]:
    """The published search by all labels (the baseline) and by a tenth, search as people get it, and the others."""
    searches = search_ways(labels, ())
    drawn = Way("clipgen", Method.CLIPGEN, {"candidates": TOKENED})
    ways = (*reversed(searches), SEARCH, FUSEDREAM, *ablations(labels), drawn)
    return tuple(_climbing(way, {"steps": steps}) for way in ways)


def pair_ways(steps: int) -> tuple[Way, ...]:
    """For prompts of two things: both pasted into one picture and climbed, only pasted, and not composed at all."""
    compose = _climbing(Way("compose", Method.COMPOSE), {"steps": steps})
    pasted = Way("compose without climbing", Method.COMPOSE, {"steps": 1})
    return (
        SEARCH,
        compose,
        pasted,
        replace(_climbing(FUSEDREAM, {"steps": steps}), name="fusedream without composition"),
    )


def ablations(labels: int) -> tuple[Way, ...]:
    """FuseDream with one part left out: AugCLIP, basis search, over-parameterisation, our start at the best basis.

    Without basis search its bases are the first five draws, by the label prior still; or by none.
    """
    without: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "without AugCLIP": ({}, {"views": 0}),
        "without basis search": ({"candidates": 5, "keep": 5, "top_k": labels}, {"bases": 5}),
        "without over-parameterisation": ({}, {"bases": 1}),
        "without basis search and label prior": (
            {"candidates": 5, "keep": 5, "parity": Parity.FUSEDREAM},
            {"bases": 5},
        ),
        "from the published start": ({}, {"head_start": None}),
    }
    return tuple(Way(f"fusedream {name}", Method.FUSEDREAM, params, knobs) for name, (params, knobs) in without.items())


def _climbing(way: Way, params: Mapping[str, Any]) -> Way:
    return replace(way, params={**params, **way.params}) if way.method in CLIMBS else way
