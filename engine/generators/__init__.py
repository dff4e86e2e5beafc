"""Generators: one file an architecture. A plain table from the name in a pack to the loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.generators.base import Generator
from engine.generators.biggan import load as load_biggan
from engine.generators.biggan_deep import load as load_biggan_deep
from engine.generators.embedded import load as load_embedded
from engine.generators.gpt import load as load_gpt
from engine.generators.sagan import load as load_sagan
from engine.generators.vqgan import load as load_vqgan

# What draws from z and y. A pack's [options] are keyword arguments: engine.packs.toml names those of each.
ARCHITECTURES: Mapping[str, Callable[..., Generator]] = {
    "embedded": load_embedded,
    "biggan-deep": load_biggan_deep,
    "biggan": load_biggan,
    "sagan": load_sagan,
}
# Everything that reads a published layout strictly, CLIP-GEN's two networks included.
LAYOUTS: Mapping[str, Callable[[Path], Any]] = {**ARCHITECTURES, "vqgan": load_vqgan, "gpt": load_gpt}

__all__ = ["ARCHITECTURES", "LAYOUTS", "Generator"]
