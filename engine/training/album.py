"""Pictures without words, for CLIP-GEN's two trainings: a folder of anybody's, or the photographs of DREAMBOT_DATA.

It knows where they come from, how they become squares of one side, and how often each is shown. It does not know what
is learned from them; words about them, where there are any, are `prompting`'s and `data`'s business.
"""

import argparse
import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.training.data import Pictures, data_folder, flickr8k, tiny_imagenet
from engine.training.runs import Options
from engine.training.teacher import LABELS, flickr_split
from engine.training.world import load_world

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Album:
    """Pictures [n, side, side, 3] uint8, the running sum of each one's chance to be shown, and its label if known."""

    pictures: Pictures
    chance: NDArray[np.float64]
    labels: NDArray[np.int64]  # of Tiny-ImageNet, or NO_LABEL
    captions: tuple[tuple[str, ...], ...] = ()  # of the last pictures; those before have none

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Row numbers of a batch."""
        return np.searchsorted(self.chance, rng.random(count)).clip(max=len(self.pictures) - 1)

    def views(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Pictures:
        """These pictures, some of them mirrored."""
        chosen = self.pictures[rows]
        return np.where(mirrored[:, None, None, None], chosen[:, :, ::-1], chosen)


@dataclass(frozen=True, slots=True)
class Task:
    """What the command line of `vqgan` and `gpt` decides: the run, its numbers, whose pictures."""

    options: Options
    numbers: Mapping[str, Any]
    pictures: Path | None  # None: the photographs of DREAMBOT_DATA, which `options.data` names
    codes: Path  # the VQGAN's run
    export: Path | None  # a folder that the run's moving average is written into, instead of training


def read_task(verb: str, argv: Sequence[str], environ: Mapping[str, str], recipe: Path) -> Task:
    """Read the command line; sets torch's threads and turns the log on."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--pictures", type=Path, help="a folder of unlabelled pictures instead of DREAMBOT_DATA's")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long; a later start goes on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--recipe", type=Path, default=recipe, help="the run's numbers")
    parser.add_argument("--out", type=Path, default=Path(".training") / verb, help="touch `stop` in it to end the run")
    parser.add_argument("--vqgan", type=Path, default=Path(".training") / "vqgan", help="gpt: whose codes are learned")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write the moving average there, and end")
    parser.add_argument("--cache", type=Path, default=Path(".training") / "cache")
    found = parser.parse_args(argv)
    torch.set_num_threads(found.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if found.pictures is not None and not found.pictures.is_dir():
        raise ValueError(f"--pictures names {found.pictures}, which is not a folder.")
    data = data_folder(environ) if found.pictures is None or "DREAMBOT_DATA" in environ else found.pictures
    options = Options(data, found.out, found.cache, torch.device(found.device), found.minutes, found.resume)
    numbers = tomllib.loads(found.recipe.read_text(encoding="utf-8"))
    return Task(options, numbers, found.pictures, found.vqgan, found.export)


def load_album(task: Task, side: int) -> Album:
    """The folder's pictures, each as often as any other; or DREAMBOT_DATA's, the pack's classes more often."""
    if task.pictures is not None:
        return from_folder(task.pictures, side)
    return from_data(task.options.data, task.options.cache, task.numbers["pack_weight"])


def from_folder(folder: Path, side: int) -> Album:
    """Every picture in the folder and those below it, its middle square, shrunk to the side."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no pictures: {', '.join(sorted(SUFFIXES))} are read.")
    pictures = np.stack([_square(path, side) for path in paths])
    return Album(pictures, _running(np.ones(len(paths))), np.full(len(paths), NO_LABEL))


def from_data(folder: Path, cache: Path, pack_weight: float) -> Album:
    """Tiny-ImageNet's training pictures, then Flickr8k's but for the thousand that figures are measured on."""
    tiny, flickr = tiny_imagenet(folder, "train", range(LABELS), cache), flickr8k(folder, cache)
    rows = flickr_split(len(flickr.pictures))[0]
    labels = np.concatenate([tiny.labels, np.full(len(rows), NO_LABEL)])
    weight = np.where(np.isin(labels, [label.tiny for label in load_world()]), pack_weight, 1.0)
    captions = tuple(flickr.captions[row] for row in rows)
    return Album(np.concatenate([tiny.pictures, flickr.pictures[rows]]), _running(weight), labels, captions)


def to_unit(pictures: Pictures, device: torch.device) -> torch.Tensor:
    """uint8 [n, h, w, 3] to float [n, 3, h, w] in [-1, 1], channels last."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _square(path: Path, side: int) -> Pictures:
    with Image.open(path) as picture:
        return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS))


def _running(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    running: NDArray[np.float64] = np.cumsum(weight / weight.sum())
    return running
