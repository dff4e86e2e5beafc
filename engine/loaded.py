"""A pack on the device: its networks, loaded when they are first needed, and what its words mean to its CLIP.

Knows packs, devices and dtypes; knows nothing of launches, rungs or jobs (engine.runner does).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.bank import Bank
from engine.clip import Clip
from engine.errors import BadWeights
from engine.generators import ARCHITECTURES, Generator
from engine.latents import Latents, LatentSpace, TokenSpace
from engine.ops import Preprocess, Tower
from engine.packs import Pack
from engine.pair import Pair
from engine.settings import EngineSettings
from engine.weights import WeightFile
from engine.words import word_embeddings

log = logging.getLogger(__name__)

GROUP = 8  # rows that a CPU computes at once


@dataclass(frozen=True)
class Device:
    """Where and in which numbers the networks run."""

    place: torch.device
    dtype: torch.dtype
    threads: int

    @property
    def name(self) -> str:
        """As people know it: the card's name, or `cpu`."""
        return torch.cuda.get_device_name(self.place) if self.place.type == "cuda" else "cpu"

    @property
    def grouped(self) -> bool:
        """Is everything computed in groups of GROUP rows? On a CPU larger batches gain nothing.

        And a linear layer's last bits depend on the number of rows (seen: bf16 at 96 against 32, fp32 below 16).
        """
        return self.place.type == "cpu"

    @property
    def trace(self) -> dict[str, Any]:
        """What of the device stands in a job's trace."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"device": self.name, "dtype": dtype, "threads": self.threads, "torch": torch.__version__}


def choose_device(settings: EngineSettings) -> Device:
    """CUDA, then CPU; bf16 where the machine computes it natively, else fp32."""
    kind = settings.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    native = torch.cuda.is_bf16_supported() if kind == "cuda" else torch.cpu._is_avx512_bf16_supported()
    dtype = torch.bfloat16 if settings.dtype == "bf16" or (settings.dtype == "auto" and native) else torch.float32
    threads = settings.thread_count()
    torch.set_num_threads(threads)
    return Device(torch.device(kind), dtype, threads)


class LoadedPack:
    """A pack's networks on the device, frozen. What is asked for by name alone is loaded when it is first asked."""

    def __init__(self, pack: Pack, device: Device) -> None:
        if not pack.here:
            raise BadWeights(f"pack {pack.name} has not been pulled; run `dreambot packs pull {pack.name}`.")
        self.pack, self.device = pack, device
        self.scorer = Clip(pack.scorer, device.place, device.dtype)

    @cached_property
    def generator(self) -> Generator:
        """The GAN. BadWeights where the pack has none."""
        path = self._path(self.pack.generator, "generator")
        try:
            generator: Any = ARCHITECTURES[self.pack.architecture](path, **self.pack.options)
        except ValueError as error:
            raise BadWeights(str(error)) from error
        generator.to(device=self.device.place, dtype=self.device.dtype, memory_format=torch.channels_last)
        frozen: Generator = generator.eval().requires_grad_(False)
        return frozen

    @cached_property
    def pair(self) -> Pair:
        """CLIP-GEN's GPT and VQGAN. BadWeights where the pack has not both."""
        return Pair(self.pack, self.device.place, self.device.dtype)

    @cached_property
    def judge(self) -> Clip:
        """The second CLIP, never optimised against."""
        return Clip(self.pack.judge, self.device.place, self.device.dtype)

    def tower(self, tower: Tower) -> Clip:
        """Scorer or judge."""
        return self.scorer if tower is Tower.SCORER else self.judge

    def draw(self, latents: Latents, rung: int, *, cut: bool = True) -> Tensor:
        """Pictures (rung, 3, h, w) in [-1, 1], if `cut` to it; rows past the latents are padding."""
        padding = rung - len(latents)
        if latents.tokens is not None:
            return self.pair.paint(np.pad(latents.tokens, ((0, padding), (0, 0))), cut=cut)
        z = np.concatenate([latents.z, np.ones((padding, self.generator.dim_z), np.float32)])
        y = self.embed(latents)
        padded = torch.cat([y, y.new_zeros(padding, y.shape[1])])
        return self.generator(torch.from_numpy(z).to(y), padded)

    def pictures(self, latents: Sequence[Latents]) -> Tensor:
        """One picture (n, 3, h, w) float32 each, every one drawn as if alone."""
        return torch.cat([self.draw(one, 1) for one in latents]).float()

    def encode(
        self, tower: Tower, images: Tensor, rung: int, how: Preprocess = Preprocess.OURS, parts: Sequence[int] = ()
    ) -> Tensor:
        """Embeddings (n, d) float32 of pictures (n, 3, h, w); each has the bits that it has in any company.

        `parts`: how many belong to each job's op. A CPU computes those by themselves, so that nothing is padded.
        """
        clip, rows = self.tower(tower), len(images)
        if parts and self.device.grouped:
            return torch.cat([clip.encode_images(part, how) for part in torch.split(images, list(parts))])
        size = GROUP if self.device.grouped else max(rung, rows)
        padded = torch.cat([images, images.new_zeros(-rows % size, *images.shape[1:])])
        return torch.cat([clip.encode_images(group, how) for group in torch.split(padded, size)])[:rows]

    def embed(self, latents: Latents) -> Tensor:
        """The rows' y (n, dim_y): their own, or their classes' embeddings."""
        place, dtype = self.device.place, self.device.dtype
        if latents.y is not None:
            return torch.from_numpy(latents.y).to(place, dtype)
        return self.generator.embed(torch.from_numpy(latents.classes).to(place))

    def space(self, cache: Path | None) -> LatentSpace:
        """What methods may know of the pack. Without a generator nothing can be drawn from it: dim_z is 0."""
        pack, gan = self.pack, self.generator if self.pack.generator else None
        words = [(index, word) for index, label in enumerate(pack.labels) for word in (label.name, *label.synonyms)]
        embeddings = word_embeddings(pack, self.scorer, cache)
        return LatentSpace(
            pack=pack.name,
            digests={
                "pack_digest": pack.digest,
                "scorer_digest": pack.scorer.digest,
                "judge_digest": pack.judge.digest,
            },
            labels=tuple(label.name for label in pack.labels),
            dim_z=gan.dim_z if gan else 0,
            class_embeddings=_class_embeddings(self) if gan else np.zeros((0, 0), np.float32),
            words=tuple(word for _, word in words),
            word_embeddings=embeddings,
            word_labels=np.array([index for index, _ in words], dtype=np.int64),
            variants=pack.variants,
            look_colours=tuple(look for label in pack.labels for look in label.looks),
            truncation=pack.truncation,
            z_scale=pack.z_scale,
            outside_below=pack.outside_below,
            tokens=self._tokens(),
            bank=self._bank(cache, embeddings.shape[1]) if gan and cache else None,
        )

    def _tokens(self) -> TokenSpace | None:
        pack = self.pack
        if pack.pair_digest is None:
            return None
        if not pack.knows_condition:
            log.warning("%s cannot do clipgen: its GPT was trained on another text tower than its scorer's.", pack.name)
            return None
        return TokenSpace(self.pair.length, pack.pair_digest)

    def _bank(self, cache: Path, width: int) -> Bank:
        """For this pack, CLIP, device and dtype: on another device an embedding has other last bits."""
        kind, dtype = self.device.place.type, self.device.trace["dtype"]
        name = f"{self.pack.digest[:16]}-{self.scorer.digest[:16]}-{kind}-{dtype}-{GROUP}.bank"
        return Bank(cache / "bank" / name, width)

    def _path(self, file: WeightFile | None, what: str) -> Path:
        if file is None:
            raise BadWeights(f"pack {self.pack.name} has no {what}.")
        return file.checked()


def _class_embeddings(loaded: LoadedPack) -> NDArray[np.float32]:
    every = torch.arange(len(loaded.pack.labels) * loaded.pack.variants, device=loaded.device.place)
    embeddings: NDArray[np.float32] = loaded.generator.embed(every).float().cpu().numpy()
    return embeddings
