"""Generators: one file an architecture. A plain table from the name in a pack to the loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from engine.generators.base import Generator
from engine.generators.biggan import load as load_biggan
from engine.generators.biggan_deep import load as load_biggan_deep
from engine.generators.embedded import load as load_embedded
from engine.generators.sagan import load as load_sagan

ARCHITECTURES: Mapping[str, Callable[[Path], Generator]] = {
    "embedded": load_embedded,
    "biggan-deep": load_biggan_deep,
    "biggan": load_biggan,
    "sagan": load_sagan,
}

__all__ = ["ARCHITECTURES", "Generator"]
