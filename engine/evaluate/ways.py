"""The ways that the table of methods compares: search as published and as people get it, and every other method with
its ablations. Knows names and parameters."""

from __future__ import annotations

from typing import Any

from engine.evaluate.trials import Way, search_ways
from storage.job import Method


def method_ways(labels: int) -> tuple[Way, ...]:
    """The published search by all labels (the baseline) and by a tenth, search as people get it, and the others."""
    searches = search_ways(labels, ())
    return (*reversed(searches), Way("search", Method.SEARCH), Way("fusedream", Method.FUSEDREAM), *ablations(labels))


def ablations(labels: int) -> tuple[Way, ...]:
    """FuseDream with one part left out: over-parameterisation, basis search, views, our start at the best basis."""
    without: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "one basis": ({}, {"bases": 1}),
        "no basis search": ({"candidates": 5, "keep": 5, "top_k": labels}, {"bases": 5}),
        "one view a step": ({}, {"views": 1}),
        "published start": ({}, {"head_start": None}),
    }
    return tuple(
        Way(f"fusedream, {name}", Method.FUSEDREAM, params, knobs) for name, (params, knobs) in without.items()
    )
