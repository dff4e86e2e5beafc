"""Real photographs, as both CLIPs of a pack see them: what drawn pictures are compared with.

Knows the training data's reader and the pack's CLIPs. There are photographs only where DREAMBOT_DATA names them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.clip import Clip
from engine.evaluate.trials import Prompt
from engine.packs import ClipSpec, Pack
from engine.runner import Device
from engine.training.data import tiny_imagenet
from engine.training.world import load_world

Numbers = NDArray[np.float64]
DATA = "DREAMBOT_DATA"


@dataclass(frozen=True, slots=True)
class Photographs:
    """Scores (n,) of every prompt's own photographs by scorer and judge, and the judge's features (n, d)."""

    scorer: Numbers
    judge: Numbers
    features: Numbers


def look_at(
    pack: Pack, device: Device, asked: Sequence[Prompt], environ: Mapping[str, str] = os.environ
) -> Photographs:
    """The validation photographs of the prompts' labels. UserError-free: ValueError says what is missing."""
    folder = Path(environ.get(DATA, ""))
    if not environ.get(DATA) or not folder.is_dir():
        raise ValueError(f"no photographs to compare with: {DATA} does not name their folder.")
    numbers = {label.name: label.tiny for label in load_world()}
    shown = [prompt for prompt in asked if prompt.label in numbers]
    if not shown:
        raise ValueError("no photographs to compare with: no prompt names a label that they have.")
    val = tiny_imagenet(folder, "val", sorted(numbers.values()))
    owners = [np.flatnonzero(val.labels == numbers[str(prompt.label)]) for prompt in shown]
    texts = [prompt.text for prompt in shown]
    seen = {spec.model: _encode(spec, device, val.pictures, texts) for spec in (pack.scorer, pack.judge)}
    scores = []
    for spec in (pack.scorer, pack.judge):
        pictures, words = seen[spec.model]
        scores.append(np.concatenate([pictures[rows] @ word for rows, word in zip(owners, words, strict=True)]))
    return Photographs(scores[0], scores[1], seen[pack.judge.model][0])


@torch.inference_mode()
def _encode(
    spec: ClipSpec, device: Device, pictures: NDArray[np.uint8], texts: list[str], chunk: int = 64
) -> tuple[Numbers, Numbers]:
    clip = Clip(spec, device.place, device.dtype)
    parts = []
    for first in range(0, len(pictures), chunk):
        pixels = torch.from_numpy(pictures[first : first + chunk]).to(device.place).permute(0, 3, 1, 2)
        parts.append(clip.encode_images(pixels.float() / 127.5 - 1).double().cpu().numpy())
    return np.concatenate(parts), clip.encode_text(texts).astype(np.float64)
