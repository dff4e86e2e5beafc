"""The runner: the only code that launches device work. Pads a launch to its rung, computes, hands rows back.

Knows packs, devices and dtypes; knows nothing of jobs, prompts' meaning or turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.augment import augment, draw_views
from engine.climbing import blend_of, near_of, paste_of, slopes_of, views_of
from engine.latents import Latents, LatentSpace
from engine.launches import Launch
from engine.loaded import GROUP, Device, LoadedPack, choose_device
from engine.ops import (
    RUNGS,
    Blend,
    Blended,
    Climb,
    Drawn,
    DrawTokens,
    EncodeImages,
    EncodePicture,
    EncodePictureViews,
    EncodeText,
    EncodeViews,
    Near,
    Op,
    Paste,
    Pixels,
    Preprocess,
    Render,
    Slope,
    Texts,
)
from engine.packs import Pack, pick
from engine.pasting import square

__all__ = ["Device", "LoadedPack", "ModelRunner", "choose_device"]


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
            self._spaces[name] = loaded.space(self._cache)
        return self._spaces[name]

    @property
    def drawing(self) -> list[str]:
        """The packs that are loaded and can be drawn from."""
        return [name for name, space in self._spaces.items() if space.dim_z]

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
        """A reply for each op of the launch, in order."""
        op = launch.ops[0]
        compute: Callable[[LoadedPack, Launch], list[Any]] = COMPUTE[type(op)]
        loaded = self._loaded[op.pack]
        parts = [launch] if self.device.grouped else launch.parts()
        return [reply for part in parts for reply in compute(loaded, part)]


def _encode_text(loaded: LoadedPack, launch: Launch) -> list[Texts]:
    ops = [op for op in launch.ops if isinstance(op, EncodeText)]
    clip = loaded.tower(ops[0].tower)
    texts = [text for op in ops for text in op.texts]
    embeddings = clip.encode_text(texts + [""] * (launch.rung - len(texts)))
    return [Texts(rows, tuple(map(clip.cut, op.texts))) for op, rows in zip(ops, _split(embeddings, ops), strict=True)]


def _encode_images(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float16]]:
    ops = [op for op in launch.ops if isinstance(op, EncodeImages)]
    latents, tower, how = Latents.stacked([op.latents for op in ops]), ops[0].tower, ops[0].preprocess
    size, cut = GROUP if loaded.device.grouped else launch.rung, how is not Preprocess.CLIPGEN
    groups = [latents.rows(at, at + size) for at in range(0, len(latents), size)]
    embeddings = [loaded.encode(tower, loaded.draw(g, size, cut=cut), size, how)[: len(g)] for g in groups]
    return _split(torch.cat(embeddings).half().cpu().numpy(), ops)


def _encode_picture(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float32]]:
    ops = [op for op in launch.ops if isinstance(op, EncodePicture)]
    clip = loaded.tower(ops[0].tower)
    return [clip.encode_images(square(op.pixels).to(loaded.device.place))[0].cpu().numpy() for op in ops]


def _encode_views(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float16]]:
    ops = [op for op in launch.ops if isinstance(op, EncodeViews)]
    views = views_of(loaded.tower(ops[0].tower), loaded.pictures([op.latents for op in ops]), ops)
    embeddings = loaded.encode(ops[0].tower, views, launch.rung, ops[0].preprocess, [op.rows for op in ops])
    return _split(embeddings.half().cpu().numpy(), ops)


def _encode_picture_views(loaded: LoadedPack, launch: Launch) -> list[NDArray[np.float16]]:
    return [_seen_often(loaded, op) for op in launch.ops if isinstance(op, EncodePictureViews)]


def _seen_often(loaded: LoadedPack, op: EncodePictureViews) -> NDArray[np.float16]:
    picture = square(op.pixels).to(loaded.device.place)
    draws = draw_views(op.seed, 0, op.rows).to(picture.device)
    embeddings = loaded.scorer.encode_images(augment(picture, draws))
    found: NDArray[np.float16] = embeddings.half().cpu().numpy()
    return found


def _render(loaded: LoadedPack, launch: Launch) -> list[Pixels]:
    ops = [op for op in launch.ops if isinstance(op, Render)]
    return _split(_pixels(loaded.pictures([op.latents for op in ops])), ops)


def _paste(loaded: LoadedPack, launch: Launch) -> list[Pixels]:
    return [_pixels(paste_of(loaded, op))[0] for op in launch.ops if isinstance(op, Paste)]


def _pixels(images: Tensor) -> Pixels:
    """(n, height, width, 3) uint8 of pictures (n, 3, height, width) in [-1, 1]."""
    whole = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: Pixels = whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def _draw_tokens(loaded: LoadedPack, launch: Launch) -> list[Drawn]:
    return [
        Drawn(*loaded.pair.draw(op.text, op.uniforms, op.so_far.kept if op.so_far else None, plain=op.plain))
        for op in launch.ops
        if isinstance(op, DrawTokens)
    ]


def _climb(loaded: LoadedPack, launch: Launch) -> list[Slope]:
    return slopes_of(loaded, [op for op in launch.ops if isinstance(op, Climb)], launch.rung)


def _near(loaded: LoadedPack, launch: Launch) -> list[Slope]:
    return [near_of(loaded, op) for op in launch.ops if isinstance(op, Near)]


def _blend(loaded: LoadedPack, launch: Launch) -> list[Blended]:
    return [blend_of(loaded, op) for op in launch.ops if isinstance(op, Blend)]


COMPUTE: Mapping[type[Op], Callable[[LoadedPack, Launch], list[Any]]] = {
    EncodeText: _encode_text,
    EncodeImages: _encode_images,
    EncodePicture: _encode_picture,
    EncodePictureViews: _encode_picture_views,
    EncodeViews: _encode_views,
    Render: _render,
    Paste: _paste,
    Climb: _climb,
    Near: _near,
    Blend: _blend,
    DrawTokens: _draw_tokens,
}


def _split(rows: NDArray[Any], ops: list[Any]) -> list[Any]:
    """Rows back to the ops they came from; the padding falls away."""
    ends = np.cumsum([op.rows for op in ops])
    return [rows[end - op.rows : end] for end, op in zip(ends, ops, strict=True)]
