"""The ways that the table of methods compares: search by few and by all labels, and every other method with its
ablations. Knows names and parameters."""

from __future__ import annotations

from engine.evaluate.trials import Way, search_ways, tenth
from storage.job import Method


def method_ways(labels: int) -> tuple[Way, ...]:
    """Search by all labels first (the baseline), by a tenth of them, as people get it, and the others."""
    few = tenth(labels)
    searches = [way for way in search_ways(labels, ()) if way.params["top_k"] in (few, labels)]
    return (*reversed(searches), Way("search", Method.SEARCH), Way("fusedream", Method.FUSEDREAM))
