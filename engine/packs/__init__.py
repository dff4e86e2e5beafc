"""Packs: one TOML file each, naming a generator, the CLIP that scores, a second CLIP that judges, and the labels.

Knows where packs are found; loads no weights. A pack's digest changes when, and only when, something changes that
decides pixels; a CLIP's digest, when something changes that decides scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import UnknownPack
from engine.packs.pack import ClipSpec, Drawing, Label, Pack
from engine.packs.toml import read_pack

HERE = Path(__file__).parent

__all__ = ["HERE", "ClipSpec", "Drawing", "Label", "Pack", "find_packs", "pick", "read_pack"]


def find_packs(extra: Path | None = None, kept: Path | None = None) -> dict[str, Pack]:
    """Every pack by name: the shipped ones, those in `extra`, and those added to `kept`, where pulled files lie, too.

    A pack that cannot be read raises BadWeights. Packs that have not been pulled are among them (`Pack.here`).
    """
    folders = [folder for folder in (HERE, extra, kept) if folder is not None]
    paths = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    return {pack.name: pack for pack in (read_pack(path, kept) for path in paths)}


def pick(packs: Mapping[str, Pack], name: str) -> Pack:
    """The pack of that name; UnknownPack names those there are."""
    if name not in packs:
        raise UnknownPack(f"pack is one of {', '.join(sorted(packs))}; {name!r} is not.")
    return packs[name]
