"""Everything that stays the same while an image tower learns: the frozen text tower's vectors and the teacher's.

It knows a finished text run and the lessons. It does not know the image tower.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.training.colours import COLOURS
from engine.training.prompting import Prompter, Words
from engine.training.runs import Plan, autocast
from engine.training.teacher import LABELS, Lessons
from engine.training.text import Clip, encode_rows
from engine.training.train_text import Head
from engine.training.vocabulary import load_vocabulary

log = logging.getLogger(__name__)
CAPTIONS = 5  # a photograph; a few have fewer, and repeat one


@dataclass(frozen=True, slots=True)
class Bank:
    """Unit vectors. `named` [labels, n, d] says `sayings` [labels, n]; `coloured` [labels, colours, n, d]; `captions`
    [photographs, 5, d] of those to learn from; `tiny` and `flickr` [2, count, d]: the teacher's, plain and mirrored."""

    named: Tensor
    sayings: Tensor
    truth: Tensor
    coloured: Tensor
    captions: Tensor
    tiny: Tensor
    flickr: Tensor
    scale: Tensor


def build_bank(clip: Clip, head: Head, lessons: Lessons, plan: Plan, device: torch.device) -> Bank:
    """About half a minute on one core."""
    rng = np.random.default_rng([plan.seed, 2])
    prompter = Prompter(load_vocabulary(lessons.names), clip.tokenizer, plan.image["drop"])
    many, tints = plan.image["prompts"], plan.image["colour_prompts"]
    sayings = np.array([[prompter.saying_of(label, rng) for _ in range(many)] for label in range(LABELS)])
    named = [prompter.sentence(int(number), rng) for number in sayings.ravel()]
    coloured = [
        prompter.coloured(label, colour, rng)
        for label in range(LABELS)
        for colour in range(len(COLOURS))
        for _ in range(tints)
    ]
    texts = [lessons.flickr.captions[row] for row in lessons.flickr_train]
    captions = [prompter.caption(said[turn % len(said)], rng) for said in texts for turn in range(CAPTIONS)]
    log.info("encoding %d sentences", len(named) + len(coloured) + len(captions))
    width = clip.model.text_projection.shape[1]
    return Bank(
        named=_encode(clip, prompter, named, device).view(LABELS, many, width),
        sayings=torch.from_numpy(sayings),
        truth=prompter.truth.to(device),
        coloured=_encode(clip, prompter, coloured, device).view(LABELS, len(COLOURS), tints, width),
        captions=_encode(clip, prompter, captions, device).half().view(len(texts), CAPTIONS, width),
        tiny=_teach(head, lessons.tiny_features, device),
        flickr=_teach(head, lessons.flickr_features[:, lessons.flickr_train], device),
        scale=clip.model.logit_scale.detach().exp(),
    )


@torch.no_grad()
def _encode(
    clip: Clip, prompter: Prompter, sentences: Sequence[Words], device: torch.device, chunk: int = 512
) -> Tensor:
    parts = []
    for start in range(0, len(sentences), chunk):
        with autocast(device), sdpa_kernel(SDPBackend.MATH):
            parts.append(encode_rows(clip.model, prompter.rows(sentences[start : start + chunk]).to(device)))
    return torch.cat(parts)


@torch.no_grad()
def _teach(head: Head, features: NDArray[np.float16], device: torch.device, chunk: int = 4096) -> Tensor:
    head.eval()
    views = []
    for view in features:
        rows = torch.split(torch.from_numpy(view), chunk)
        views.append(torch.cat([head(part.to(device)).half() for part in rows]))
    return torch.stack(views)
