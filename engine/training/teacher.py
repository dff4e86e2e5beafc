"""What the CLIPs learn from: photographs, captions, the frozen MobileNet's feature of each photograph and mirror.

It reads DREAMBOT_DATA through `data`, and keeps the features in a cache folder. It does not know texts' meaning nor
any network that learns.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engine.training.colours import middle_colours
from engine.training.data import Captioned, Labelled, flickr8k, tiny_imagenet, tiny_imagenet_names
from engine.training.features import MobileNet

log = logging.getLogger(__name__)
LABELS = 200
SIDE = 128  # the photographs are enlarged to this for the teacher
HELD_OUT = 1000  # Flickr8k pictures kept for measuring
HOLD_SEED = 8


@dataclass(frozen=True, slots=True)
class Lessons:
    """All that training reads. Features: [2, count, 1280] fp16, the photograph's and its mirror's."""

    names: tuple[str, ...]
    tiny: Labelled
    tiny_features: NDArray[np.float16]
    tiny_colours: NDArray[np.int64]
    flickr: Captioned
    flickr_features: NDArray[np.float16]
    flickr_train: NDArray[np.int64]


def load_lessons(data: Path, cache: Path, device: torch.device) -> Lessons:
    """Everything, computed once and kept in `cache`."""
    tiny = tiny_imagenet(data, "train", range(LABELS), cache)
    flickr = flickr8k(data, cache)
    return Lessons(
        tiny_imagenet_names(data),
        tiny,
        cached_features(data, cache, "tiny-train", tiny.pictures, device),
        middle_colours(tiny.pictures),
        flickr,
        cached_features(data, cache, "flickr8k", flickr.pictures, device),
        flickr_split(len(flickr.pictures))[0],
    )


def flickr_split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers to learn from and the thousand to measure with; fixed for ever."""
    order = np.random.default_rng(HOLD_SEED).permutation(count)
    return np.sort(order[HELD_OUT:]), np.sort(order[:HELD_OUT])


def cached_features(
    data: Path, cache: Path, name: str, pictures: NDArray[np.uint8], device: torch.device
) -> NDArray[np.float16]:
    """[2, count, 1280], from the cache or computed (about 5 minutes a view for Tiny-ImageNet on one AMX core)."""
    views = []
    for view in range(2):
        path = cache / f"features-{name}-{SIDE}-{view}.npy"
        if not path.is_file():
            log.info("computing the teacher's features: %s", path.name)
            computed = _features(MobileNet.load(data, device), pictures, mirrored=view == 1)
            part = path.with_suffix(".part.npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(part, computed)
            part.replace(path)
        views.append(np.load(path))
    return np.stack(views)


@torch.inference_mode()
def _features(teacher: MobileNet, pictures: NDArray[np.uint8], mirrored: bool, chunk: int = 64) -> NDArray[np.float16]:
    found = np.empty((len(pictures), 1280), np.float16)
    for start in range(0, len(pictures), chunk):
        x = torch.from_numpy(pictures[start : start + chunk]).to(teacher.device).permute(0, 3, 1, 2).float() / 255
        x = functional.interpolate(x.flip(3) if mirrored else x, size=(SIDE, SIDE), mode="bilinear")
        found[start : start + chunk] = teacher(x).pooled.half().cpu().numpy()
    return found
