"""The runner: the only code that launches device work. Pads a launch to its rung, computes, hands rows back.

Knows packs, devices and dtypes; knows nothing of jobs, prompts' meaning or turns.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.augment import augment, draw_views
from engine.clip import Clip
from engine.errors import BadWeights
from engine.generators import ARCHITECTURES, Generator
from engine.latents import Latents, LatentSpace
from engine.ops import (
    RUNGS,
    TEXT_RUNG,
    Climb,
    EncodeImages,
    EncodePicture,
    EncodeText,
    EncodeViews,
    Launch,
    Op,
    Pixels,
    Render,
    Slope,
    Texts,
    Tower,
)
from engine.packs import Pack, pick
from engine.settings import EngineSettings


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
    """A pack's networks on the device, frozen. The judge is loaded when it is first asked."""

    def __init__(self, pack: Pack, device: Device) -> None:
        if pack.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise BadWeights(f"pack {pack.name} has the architecture {pack.architecture!r}; this engine knows {known}.")
        self.pack, self.device = pack, device
        self.generator = _load_generator(pack, device)
        self.scorer = Clip(pack.scorer, device.place, device.dtype)

    @cached_property
    def judge(self) -> Clip:
        """The second CLIP, never optimised against."""
        return Clip(self.pack.judge, self.device.place, self.device.dtype)

    def tower(self, tower: Tower) -> Clip:
        """Scorer or judge."""
        return self.scorer if tower is Tower.SCORER else self.judge

    def draw(self, latents: Latents, rung: int) -> Tensor:
        """Pictures (rung, 3, h, w) in [-1, 1]; rows past the latents are padding."""
        padding = rung - len(latents)
        z = np.concatenate([latents.z, np.ones((padding, self.generator.dim_z), np.float32)])
        y = self.embed(latents)
        padded = torch.cat([y, y.new_zeros(padding, y.shape[1])])
        return self.generator(torch.from_numpy(z).to(y), padded)

    def embed(self, latents: Latents) -> Tensor:
        """The rows' y (n, dim_y): their own, or their classes' embeddings."""
        place, dtype = self.device.place, self.device.dtype
        if latents.y is not None:
            return torch.from_numpy(latents.y).to(place, dtype)
        return self.generator.embed(torch.from_numpy(latents.classes).to(place))


class ModelRunner:
    """Owner of the device. `run` is called from one thread only."""

    def __init__(self, packs: Mapping[str, Pack], device: Device, cache: Path | None = None) -> None:
        self.packs, self.device, self._cache = packs, device, cache
        self._loaded: dict[str, LoadedPack] = {}
        self._spaces: dict[str, LatentSpace] = {}

    def space(self, name: str) -> LatentSpace:
        """What methods may know of a pack; loads it where it is not. UnknownPack, BadWeights."""
        if name not in self._spaces:
            loaded = LoadedPack(pick(self.packs, name), self.device)
            self._loaded[name] = loaded
            self._spaces[name] = self._space(loaded)
        return self._spaces[name]

    def warm_up(self, name: str) -> float:
        """Load a pack and score candidates twice: the seconds that one costs once everything is warm."""
        space = self.space(name)
        rows = RUNGS[-1]
        latents = space.draw(0, range(len(space.labels)), range(rows))
        launch = Launch((EncodeImages(name, latents, rows),))
        self.run(launch)
        began = time.perf_counter()
        self.run(launch)
        return (time.perf_counter() - began) / rows

    @torch.inference_mode()
    def run(self, launch: Launch) -> list[Any]:
        """One device call; a reply for each op of the launch, in order."""
        op = launch.ops[0]
        compute: Callable[[LoadedPack, Launch], list[Any]] = COMPUTE[type(op)]
        return compute(self._loaded[op.pack], launch)

    def _space(self, loaded: LoadedPack) -> LatentSpace:
        pack = loaded.pack
        words = [(index, word) for index, label in enumerate(pack.labels) for word in (label.name, *label.synonyms)]
        embeddings = self._embed_words(loaded, [word for _, word in words])
        return LatentSpace(
            pack=pack.name,
            digests={
                "pack_digest": pack.digest,
                "scorer_digest": pack.scorer.digest,
                "judge_digest": pack.judge.digest,
            },
            labels=tuple(label.name for label in pack.labels),
            dim_z=loaded.generator.dim_z,
            class_embeddings=_class_embeddings(loaded),
            words=tuple(word for _, word in words),
            word_embeddings=embeddings,
            word_labels=np.array([index for index, _ in words], dtype=np.int64),
            variants=pack.variants,
            truncation=pack.truncation,
            outside_below=pack.outside_below,
        )

    def _embed_words(self, loaded: LoadedPack, words: list[str]) -> NDArray[np.float32]:
        """Embeddings (words, d) of a pack's words; encoded once for its digests, then read from the cache."""
        digests = f"{loaded.pack.digest[:16]}-{loaded.scorer.digest[:16]}"
        kept = self._cache / f"words-{digests}.npy" if self._cache else None
        if kept is not None and kept.is_file():
            with contextlib.suppress(ValueError, OSError):  # torn by a crash: encode anew
                found: NDArray[np.float32] = np.load(kept, allow_pickle=False)
                if len(found) == len(words):
                    return found
        embeddings = _embed_words(loaded, words)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as draft:
                np.save(draft, embeddings)
            Path(draft.name).replace(kept)
        return embeddings


def _embed_words(loaded: LoadedPack, words: list[str]) -> NDArray[np.float32]:
    """Embeddings (words, d): of each the mean over the pack's templates, back on the unit sphere."""
    templates = loaded.pack.templates
    texts = [template.format(word) for word in words for template in templates]
    padded = texts + [""] * (-len(texts) % TEXT_RUNG)
    chunks = [padded[at : at + TEXT_RUNG] for at in range(0, len(padded), TEXT_RUNG)]
    embedded = np.concatenate([loaded.scorer.encode_text(chunk) for chunk in chunks])[: len(texts)]
    means = embedded.reshape(len(words), len(templates), -1).mean(axis=1)
    unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def _class_embeddings(loaded: LoadedPack) -> NDArray[np.float32]:
    every = torch.arange(len(loaded.pack.labels) * loaded.pack.variants, device=loaded.device.place)
    embeddings: NDArray[np.float32] = loaded.generator.embed(every).float().cpu().numpy()
    return embeddings


def _load_generator(pack: Pack, device: Device) -> Generator:
    try:
        generator: Any = ARCHITECTURES[pack.architecture](pack.generator.checked())
    except ValueError as error:
        raise BadWeights(str(error)) from error
    generator.to(device=device.place, dtype=device.dtype, memory_format=torch.channels_last)
    frozen: Generator = generator.eval().requires_grad_(False)
    return frozen


def _encode_text(loaded: LoadedPack, launch: Launch) -> list[Texts]:
    ops = [op for op in launch.ops if isinstance(op, EncodeText)]
    clip = loaded.tower(ops[0].tower)
    texts = [text for op in ops for text in op.texts]
    embeddings = clip.encode_text(texts + [""] * (launch.rung - len(texts)))
    return [Texts(rows, tuple(map(clip.cut, op.texts))) for op, rows in zip(ops, _split(embeddings, ops), strict=True)]


def _encode_images(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float16]]:
    ops = [op for op in launch.ops if isinstance(op, EncodeImages)]
    latents = Latents.stacked([op.latents for op in ops])
    embeddings = loaded.tower(ops[0].tower).encode_images(loaded.draw(latents, launch.rung))
    return _split(embeddings.half().cpu().numpy(), ops)


def _encode_picture(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float32]]:
    ops = [op for op in launch.ops if isinstance(op, EncodePicture)]
    clip = loaded.tower(ops[0].tower)
    return [clip.encode_images(_square(op.pixels).to(loaded.device.place))[0].cpu().numpy() for op in ops]


def _square(pixels: Pixels) -> Tensor:
    """The middle square of a picture (h, w, 3), as (1, 3, side, side) in [-1, 1]."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return square.permute(2, 0, 1)[None].float() / 127.5 - 1


def _encode_views(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float16]]:
    ops = [op for op in launch.ops if isinstance(op, EncodeViews)]
    views = torch.cat([_views(loaded, op) for op in ops])
    padded = torch.cat([views, views.new_zeros(launch.rung - len(views), *views.shape[1:])])
    embeddings = loaded.tower(ops[0].tower).encode_images(padded)
    return _split(embeddings.half().cpu().numpy(), ops)


def _views(loaded: LoadedPack, op: EncodeViews) -> Tensor:
    picture = loaded.draw(op.latents, 1).float()
    draws = draw_views(op.seed, op.first, op.rows).to(picture.device)
    return augment(picture.expand(op.rows, -1, -1, -1), draws)


def _render(loaded: LoadedPack, launch: Launch) -> list[Pixels]:
    ops = [op for op in launch.ops if isinstance(op, Render)]
    images = loaded.draw(Latents.stacked([op.latents for op in ops]), launch.rung).float()
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return _split(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), ops)


def _climb(loaded: LoadedPack, launch: Launch) -> list[Slope]:
    return [_slope(loaded, op) for op in launch.ops if isinstance(op, Climb)]


def _slope(loaded: LoadedPack, op: Climb) -> Slope:
    """One backward through the generator for all views: their gradients meet in the picture."""
    device = loaded.device
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.from_numpy(op.latents.z).to(device.place).requires_grad_()
        y = loaded.embed(op.latents).float().detach().requires_grad_()
        picture = loaded.generator(z.to(device.dtype), y.to(device.dtype)).float()
        draws = draw_views(op.seed, op.first, op.rows).to(device.place)
        embeddings = loaded.scorer.encode_images(augment(picture.expand(op.rows, -1, -1, -1), draws))
        score = (embeddings @ torch.from_numpy(op.text).to(device.place)).mean()
        to_z, to_y = torch.autograd.grad(score, (z, y))
    return Slope(float(score), to_z[0].float().cpu().numpy(), to_y[0].float().cpu().numpy())


COMPUTE: Mapping[type[Op], Callable[[LoadedPack, Launch], list[Any]]] = {
    EncodeText: _encode_text,
    EncodeImages: _encode_images,
    EncodePicture: _encode_picture,
    EncodeViews: _encode_views,
    Render: _render,
    Climb: _climb,
}


def _split(rows: NDArray[Any], ops: list[Any]) -> list[Any]:
    """Rows back to the ops they came from; the padding falls away."""
    ends = np.cumsum([op.rows for op in ops])
    return [rows[end - op.rows : end] for end, op in zip(ends, ops, strict=True)]
