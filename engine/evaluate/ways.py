"""The ways that the table of methods compares: search by few and by all labels, and every other method with its
ablations. Knows names and parameters."""

from __future__ import annotations

from typing import Any

from engine.evaluate.trials import Way, search_ways, tenth
from storage.job import Method


def method_ways(labels: int) -> tuple[Way, ...]:
    """Search by all labels first (the baseline), by a tenth of them, as people get it, and the others."""
    few = tenth(labels)
    searches = [way for way in search_ways(labels, ()) if way.params["top_k"] in (few, labels)]
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
