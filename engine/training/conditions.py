"""What CLIP-GEN's GPT is told while it learns: a picture's own CLIP embedding, or that of words about it, blurred.

The paper tells pictures alone, and swaps in words when drawing. Where words are known (labels, captions) they are told,
too: text and picture embeddings of a small CLIP lie far apart (engine/packs/embedded/README.md has the measure), and a
GPT that never saw the former draws worse from them. A folder of pictures without words is told as in the paper.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.training.album import NO_LABEL, Album
from engine.training.colours import NONE, middle_colours
from engine.training.prompting import Prompter, Words
from engine.training.text import Clip, encode_pictures, encode_rows
from engine.training.vocabulary import Vocabulary


class Conditions:
    """Embeddings for rows of an album, drawn anew every time; pictures are encoded when they first come up."""

    def __init__(self, album: Album, clip: Clip, numbers: Mapping[str, Any], vocabulary: Vocabulary | None) -> None:
        self.album, self.clip, self.numbers = album, clip, numbers
        self.width = int(clip.model.text_projection.shape[1])
        self.prompter = Prompter(vocabulary, clip.tokenizer, numbers["drop"]) if vocabulary else None
        self.first_caption = len(album.pictures) - len(album.captions)
        self.known = np.zeros((len(album.pictures), 2, self.width), np.float16)

    def draw(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        """Conditions [n, width] of length 1, and of length 0 for those who are told nothing."""
        told = rng.random(len(rows)) < self.numbers["text"]
        sentences = [self._sentence(int(row), rng) if say else None for row, say in zip(rows, told, strict=True)]
        spoken = np.array([sentence is not None for sentence in sentences])
        found = torch.empty(len(rows), self.width)
        if spoken.any():
            found[spoken] = self._texts([sentence for sentence in sentences if sentence is not None])
        if not spoken.all():
            found[~spoken] = self._pictures(rows[~spoken], mirrored[~spoken])
        noise = self.numbers["noise"]
        length = torch.from_numpy(np.where(spoken, noise["text"], noise["image"]).astype(np.float32))
        step = functional.normalize(torch.from_numpy(rng.standard_normal(found.shape).astype(np.float32)), dim=1)
        blurred = functional.normalize(found + length[:, None] * step, dim=1)
        silent = torch.from_numpy(rng.random(len(rows)) < self.numbers["nothing"])
        return blurred.masked_fill(silent[:, None], 0.0)

    def _sentence(self, row: int, rng: np.random.Generator) -> Words | None:
        if self.prompter is None:
            return None
        label = int(self.album.labels[row])
        if label == NO_LABEL:
            captions = self.album.captions[row - self.first_caption]
            return self.prompter.caption(captions[rng.integers(len(captions))], rng)
        if rng.random() < self.numbers["colour"]:
            colour = int(middle_colours(self.album.pictures[row : row + 1])[0])
            if colour != NONE:
                return self.prompter.coloured(label, colour, rng)
        return self.prompter.sentence(self.prompter.saying_of(label, rng), rng)

    @torch.no_grad()
    def _texts(self, sentences: list[Words]) -> Tensor:
        assert self.prompter is not None
        with sdpa_kernel(SDPBackend.MATH):
            return encode_rows(self.clip.model, self.prompter.rows(sentences))

    def _pictures(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Tensor:
        turned = mirrored.astype(np.int64)
        new = ~self.known[rows, turned].any(1)
        if new.any():
            fresh = self.album.views(rows[new], mirrored[new])
            encoded = encode_pictures(self.clip, torch.from_numpy(np.ascontiguousarray(fresh)))
            self.known[rows[new], turned[new]] = encoded.half().numpy()
        return torch.from_numpy(self.known[rows, turned]).float()
