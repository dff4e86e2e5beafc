"""The recipe: all that decides the pixels and is known before the job runs. The PNG carries it.

Knows how to write a recipe canonically and to name what differs between two. No job id, time, shape or device is in it:
how a job ran is its trace, which stands beside the job in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

RECIPE_VERSION = 3  # raised by hand whenever the pixels of an unchanged recipe change


def canonical(recipe: Mapping[str, Any]) -> str:
    """The one JSON text of a recipe: sorted keys, no spaces, no NaN; ValueError for what JSON cannot hold."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(recipe: Mapping[str, Any]) -> str:
    """sha256 of the canonical text, hex."""
    return hashlib.sha256(canonical(recipe).encode()).hexdigest()


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two recipes or traces, one "name old -> new" each, by name."""
    names = sorted(before.keys() | after.keys())
    return [f"{n} {before.get(n)} -> {after.get(n)}" for n in names if before.get(n) != after.get(n)]
