"""Generators: one file an architecture. A plain table from the name in a pack to the loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from engine.generators.base import Generator
from engine.generators.embedded import load as load_embedded

ARCHITECTURES: Mapping[str, Callable[[Path], Generator]] = {
    "embedded": load_embedded,
}

__all__ = ["ARCHITECTURES", "Generator"]
