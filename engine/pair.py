"""CLIP-GEN's pair on a device: the GPT that draws tokens after a text's embedding, and the VQGAN that paints them.

It knows a pack's files and how logits become tokens. It does not know prompts, candidates' numbers or scores; every
uniform number is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import BadWeights
from engine.generators import gpt, vqgan
from engine.packs import Pack


@dataclass(slots=True, eq=False)
class Kept:
    """Between two draws of the same rows: the GPT's cache, the logits of the next token, and the tokens so far."""

    cache: gpt.Cache
    logits: Tensor
    tokens: list[Tensor]


class Pair:
    """Both networks, frozen. The GPT is float32 everywhere: a token that rounding flips changes all after it."""

    def __init__(self, pack: Pack, place: torch.device, dtype: torch.dtype) -> None:
        if pack.vqgan is None or pack.gpt is None:
            raise BadWeights(f"pack {pack.name} has no vqgan and gpt; it cannot do clipgen.")
        self.guidance = pack.drawing.guidance
        self.choice = gpt.Choice(pack.drawing.top_k, pack.drawing.top_p, pack.drawing.temperature)
        try:
            self.gpt = gpt.load(pack.gpt.checked(), place, torch.float32, pack.drawing.heads)
            self.vqgan = vqgan.load(pack.vqgan.checked(), place, dtype).to(memory_format=torch.channels_last)
        except ValueError as error:
            raise BadWeights(str(error)) from error
        codes, length = self.vqgan.shape.codes, self.vqgan.grid**2
        if (self.gpt.size.codes, self.gpt.size.length) != (codes, length):
            raise BadWeights(f"{pack.name}: the GPT does not draw the VQGAN's {length} tokens of {codes} codes.")
        self.length, self.place = length, place

    def paint(self, tokens: NDArray[np.int64], *, cut: bool = True) -> Tensor:
        """Pictures (n, 3, h, w) of tokens (n, length); in [-1, 1] if `cut` to it."""
        codes = torch.from_numpy(tokens).to(self.place)
        return self.vqgan.decode(codes, cut=cut)

    def draw(
        self, text: NDArray[np.float32], uniforms: NDArray[np.float64], kept: Kept | None, *, plain: bool = False
    ) -> tuple[NDArray[np.int64], Kept]:
        """All tokens so far (n, t) after one more for each of the uniforms (n, steps); `kept` goes into the next call.

        The choice is made on the CPU in float64, row by row: what a GPU sums may depend on the order of its threads.
        """
        guidance = 1.0 if plain else self.guidance
        choice = replace(self.choice, published_ties=plain)
        kept = kept or self._begin(text, len(uniforms), guidance)
        for column in torch.from_numpy(uniforms).T:
            if kept.tokens:
                last = kept.tokens[-1].to(self.place)
                kept.logits = self.gpt.step(kept.cache, last if guidance == 1 else torch.cat([last, last]))
            kept.tokens.append(gpt.draw(_guided(kept.logits, guidance).cpu(), column, choice))
        return torch.stack(kept.tokens, 1).numpy(), kept

    def _begin(self, text: NDArray[np.float32], rows: int, guidance: float) -> Kept:
        condition = torch.from_numpy(text).to(self.place)[None].expand(rows, -1)
        if guidance != 1:
            condition = torch.cat([condition, torch.zeros_like(condition)])
        return Kept(*self.gpt.begin(condition), [])


def _guided(logits: Tensor, guidance: float) -> Tensor:
    """Away from the logits of no condition (classifier-free guidance, arXiv 2207.12598)."""
    if guidance == 1:
        return logits
    told, untold = logits.chunk(2)
    return untold + guidance * (told - untold)
