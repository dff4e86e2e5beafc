"""Packs: one TOML file each, naming a generator, the CLIP that scores, a second CLIP that judges, and the labels.

Knows where packs are found and what their files must hash to; loads no weights. A pack's digest changes when, and only
when, something changes that decides pixels; a CLIP's digest, when something changes that decides scores.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import BadWeights, UnknownPack
from engine.weights import WeightFile, sha256_of
from storage.recipe import canonical

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Label:
    """A thing the generator can draw, with the words people type for it."""

    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """An open_clip model: its own config (or the name of a built-in one), weights, and the merges of its tokenizer."""

    model: str
    weights: WeightFile
    config: Path | None = None
    merges: Path | None = None

    @property
    def digest(self) -> str:
        """What decides an embedding: config, weights, tokenizer."""
        parts = [self.model, self.weights.sha256, *(sha256_of(p) for p in (self.config, self.merges) if p)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack as its TOML says. `truncation`: latents beyond it are redrawn. `outside_below`: see LatentSpace."""

    name: str
    title: str
    licence: str
    architecture: str
    resolution: int
    labels: tuple[Label, ...]
    generator: WeightFile
    scorer: ClipSpec
    judge: ClipSpec
    templates: tuple[str, ...]
    variants: int = 1
    truncation: float | None = None
    outside_below: float | None = None
    offered: bool = True

    @property
    def digest(self) -> str:
        """What decides a picture, given a seed and a prompt's labels."""
        decisive = {
            "architecture": self.architecture,
            "generator": self.generator.sha256,
            "labels": [[label.name, *label.synonyms] for label in self.labels],
            "templates": list(self.templates),
            "variants": self.variants,
            "truncation": self.truncation,
        }
        return hashlib.sha256(canonical(decisive).encode()).hexdigest()

    def verify(self) -> None:
        """BadWeights unless every file of the pack is what the TOML says."""
        for file in (self.generator, self.scorer.weights, self.judge.weights):
            file.checked()


def find_packs(extra: Path | None = None) -> dict[str, Pack]:
    """Every pack by name: the shipped ones, then those in `extra`. A pack that cannot be read raises BadWeights."""
    paths = sorted(HERE.glob("*.toml")) + (sorted(extra.glob("*.toml")) if extra else [])
    return {pack.name: pack for pack in map(read_pack, paths)}


def pick(packs: Mapping[str, Pack], name: str) -> Pack:
    """The pack of that name; UnknownPack names those there are."""
    if name not in packs:
        raise UnknownPack(f"pack is one of {', '.join(sorted(packs))}; {name!r} is not.")
    return packs[name]


def read_pack(path: Path) -> Pack:
    """A pack from its TOML; paths in it are relative to the file. BadWeights names what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return _pack(raw, path.parent)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BadWeights(f"{path.name} is not a pack: {type(error).__name__}: {error}.") from error


def _pack(raw: dict[str, Any], folder: Path) -> Pack:
    return Pack(
        name=raw["name"],
        title=raw["title"],
        licence=raw["licence"],
        architecture=raw["architecture"],
        resolution=int(raw["resolution"]),
        labels=tuple(Label(entry["name"], tuple(entry.get("synonyms", ()))) for entry in raw["labels"]),
        generator=_file(raw["generator"], folder),
        scorer=_clip(raw["scorer"], folder),
        judge=_clip(raw["judge"], folder),
        templates=tuple(raw["templates"]),
        variants=int(raw.get("variants", 1)),
        truncation=raw.get("truncation"),
        outside_below=raw.get("outside_below"),
        offered=bool(raw.get("offered", True)),
    )


def _file(raw: dict[str, Any], folder: Path) -> WeightFile:
    return WeightFile(folder / raw["file"], raw["sha256"], int(raw["size"]))


def _clip(raw: dict[str, Any], folder: Path) -> ClipSpec:
    config = folder / raw["config"] if "config" in raw else None
    merges = folder / raw["merges"] if "merges" in raw else None
    model = raw["model"] if config is None else config.stem
    return ClipSpec(model=model, weights=_file(raw, folder), config=config, merges=merges)
