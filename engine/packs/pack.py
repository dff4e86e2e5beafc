"""A pack as a frozen object: what it names, and what decides its digest. Reads no TOML and loads no weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.weights import WeightFile, sha256_of, text_tower_digest
from storage.job import DREAM_METHODS, Method
from storage.recipe import canonical


@dataclass(frozen=True, slots=True)
class Label:
    """A thing the generator can draw, with the words people type for it.

    `looks` is the colour that leads in each variant's pictures, "" where none does; or empty.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """An open_clip model and its weights: its own config, or a built-in name with the tag that the weights bear there.

    The tag (`openai`, `laion2b_s34b_b79k`) says how pictures are normalised and which GELU the weights were trained
    with. `merges` are the tokenizer's, where they are not open_clip's own.
    """

    model: str
    weights: WeightFile
    config: Path | None = None
    merges: Path | None = None
    tag: str | None = None

    @property
    def digest(self) -> str:
        """What decides an embedding: config, weights, tokenizer."""
        tag = [self.tag] if self.tag else []
        parts = [self.model, *tag, str(self.weights.sha256), *(sha256_of(p) for p in (self.config, self.merges) if p)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Drawing:
    """How CLIP-GEN's tokens are drawn from its GPT's logits (engine.generators.gpt.Choice): the paper's by default.

    `guidance` above 1 moves logits away from those without a condition, for a GPT that has learned what those are.
    `condition` is the digest of the text tower whose embeddings it has learned to follow; None: not recorded. `heads`
    of the GPT cannot be read off its weights where a head has not 64 channels.
    """

    heads: int | None = None
    top_k: int = 500
    top_p: float = 0.95
    temperature: float = 1.0
    guidance: float = 1.0
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack as its TOML says.

    `truncation`: coordinates of z beyond it are redrawn; `z_scale` multiplies what remains (with BigGAN-deep, the
    published truncation t is z_scale t of a normal cut at 2). `options` are the architecture's own (see
    engine.generators.OPTIONS). `outside_below`: see LatentSpace. `words`: the labels' embeddings by the scorer, made
    beforehand. `vqgan` and `gpt` are CLIP-GEN's two networks; a pack may have them instead of a generator, or besides.
    """

    name: str
    title: str
    licence: str
    architecture: str
    resolution: int
    labels: tuple[Label, ...]
    generator: WeightFile | None
    scorer: ClipSpec
    judge: ClipSpec
    templates: tuple[str, ...]
    variants: int = 1
    truncation: float | None = None
    z_scale: float = 1.0
    options: Mapping[str, float | bool] = field(default_factory=dict)
    outside_below: float | None = None
    offered: bool = True
    words: WeightFile | None = None
    vqgan: WeightFile | None = None
    gpt: WeightFile | None = None
    drawing: Drawing = Drawing()  # of the GPT's tokens; stands in the TOML's [gpt]
    labels_file: Path | None = None  # where the labels stand that a pull brings
    toml: Path | None = None  # where all this was read

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """Every file of weights that it needs."""
        own = (self.generator, self.vqgan, self.gpt, self.words, self.scorer.weights, self.judge.weights)
        return tuple(file for file in own if file is not None)

    @property
    def shipped(self) -> bool:
        """Does it come whole with its TOML, and nothing is pulled?"""
        return self.labels_file is None and all(file.source is None for file in self.files)

    @property
    def here(self) -> bool:
        """Has everything been pulled that is not shipped?"""
        named = self.labels_file is None or self.labels_file.is_file()
        return named and all(file.here or file.source is None for file in self.files)

    @property
    def digest(self) -> str:
        """What decides a picture, given a seed and a prompt's labels."""
        decisive: dict[str, object] = {
            "architecture": self.architecture,
            "generator": self.generator.sha256 if self.generator else None,
            "labels": [[label.name, *label.synonyms] for label in self.labels],
            "templates": list(self.templates),
            "variants": self.variants,
            "truncation": self.truncation,
        }
        decisive |= {name: part.sha256 for name, part in (("vqgan", self.vqgan), ("gpt", self.gpt)) if part}
        decisive |= {"z_scale": self.z_scale} if self.z_scale != 1 else {}
        decisive |= {"options": dict(self.options)} if self.options else {}
        looks = [list(label.looks) for label in self.labels]
        decisive |= {"looks": looks} if any(looks) else {}
        return hashlib.sha256(canonical(decisive).encode()).hexdigest()

    @property
    def pair_digest(self) -> str | None:
        """What decides a picture of `clipgen`, given a seed and a prompt; None where the pack has not both networks."""
        if self.vqgan is None or self.gpt is None:
            return None
        decisive = {"vqgan": self.vqgan.sha256, "gpt": self.gpt.sha256, "drawing": asdict(self.drawing)}
        return hashlib.sha256(canonical(decisive).encode()).hexdigest()

    @property
    def knows_condition(self) -> bool:
        """Was the GPT trained on embeddings of this very text tower, as far as that was recorded?"""
        condition = self.drawing.condition
        return condition is None or condition == text_tower_digest(self.scorer.weights.path)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways to dream that it can do."""
        tokens = self.pair_digest is not None and self.knows_condition
        able = {method: tokens if method is Method.CLIPGEN else self.generator is not None for method in DREAM_METHODS}
        return tuple(method for method in DREAM_METHODS if able[method])

    def verify(self) -> None:
        """BadWeights unless every file of the pack is what its TOML, or the record of its pull, says."""
        for file in self.files:
            file.checked()
