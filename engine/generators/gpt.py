"""The GPT of CLIP-GEN: what tokens a CLIP embedding asks for, one after the other.

It knows the layers of arXiv 2203.00386 as the published `gpt_coco` checkpoint stores them, how to read their sizes
off the tensors, and how a next token is chosen. It does not know what a token looks like (engine.generators.vqgan
does), nor CLIP, nor where chance comes from: every uniform number is handed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.layout import Checkpoint, Source, build

HEAD = 64  # channels of a head in GPT-2 medium and large; no tensor's shape tells it
MASK = re.compile(r"blocks\.\d+\.mask")


@dataclass(frozen=True, slots=True)
class Size:
    """What decides every tensor's shape; the defaults are `gpt_coco`'s."""

    codes: int = 16384
    length: int = 256  # positions: the condition and all tokens but the last
    condition: int = 512
    width: int = 1024
    hidden: int = 4096
    depth: int = 24
    heads: int = 16

    def __post_init__(self) -> None:
        """Heads share the width equally."""
        if self.width % self.heads:
            raise ValueError(f"A width of {self.width} does not divide into {self.heads} heads.")


@dataclass(frozen=True, slots=True)
class Choice:
    """How a token is chosen among the likely ones; the defaults are CLIP-GEN's."""

    top_k: int = 500
    top_p: float = 0.95
    temperature: float = 1.0
    published_ties: bool = False  # the published code keeps all that tie with the k-th; we keep k, lower tokens first

    def __post_init__(self) -> None:
        """Refuse what would leave no token to choose."""
        if self.top_k < 1 or not 0 < self.top_p <= 1 or not self.temperature > 0:
            raise ValueError("A choice needs top_k of 1 or more, top_p above 0 and up to 1, and a temperature above 0.")


class Cache:
    """Keys and values of the positions read so far: at full size 50 MB a row in float32."""

    def __init__(self, size: Size, rows: int, like: Tensor) -> None:
        self.filled = 0
        self._room = like.new_empty(size.depth, 2, rows, size.heads, size.length, size.width // size.heads)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one position's keys and values [n, heads, 1, channels]; all up to it come back."""
        room = self._room[layer]
        room[0, :, :, self.filled], room[1, :, :, self.filled] = keys[:, :, 0], values[:, :, 0]
        return room[0, :, :, : self.filled + 1], room[1, :, :, : self.filled + 1]


class GPT(nn.Module):
    """Logits of the next token after a condition [n, condition] and the tokens before it; each row for itself."""

    def __init__(self, size: Size, dropout: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.tok_emb = nn.Embedding(size.codes, size.width)
        self.pos_emb = nn.Parameter(torch.zeros(1, size.length, size.width))
        self.cond_proj = nn.Linear(size.condition, size.width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(size, dropout) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.codes)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """All logits [n, t + 1, codes] after the condition and t tokens [n, t]; the t-th are those of token t."""
        if tokens.shape[1] >= self.size.length:
            raise ValueError(f"{tokens.shape[1]} tokens leave no position for the next of {self.size.length}.")
        x = torch.cat([self.cond_proj(condition.to(self.pos_emb.dtype))[:, None], self.tok_emb(tokens)], 1)
        x = self.drop(x + self.pos_emb[:, : x.shape[1]])
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def begin(self, condition: Tensor) -> tuple[Cache, Tensor]:
        """A fresh cache, and the first token's logits [n, codes]. CLIP-GEN's conditions have length 1."""
        cache = Cache(self.size, len(condition), self.pos_emb)
        return cache, self._advance(cache, self.cond_proj(condition.to(self.pos_emb.dtype)))

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """The next logits [n, codes], after each row's latest token [n]."""
        if cache.filled == self.size.length:
            raise ValueError(f"All {self.size.length} tokens are drawn; a picture has no more.")
        return self._advance(cache, self.tok_emb(tokens))

    def _advance(self, cache: Cache, x: Tensor) -> Tensor:
        x = (x + self.pos_emb[:, cache.filled])[:, None]
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        cache.filled += 1
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits

    @torch.no_grad()
    def sample(self, condition: Tensor, uniforms: Tensor | NDArray[np.float64], choice: Choice | None = None) -> Tensor:
        """Tokens [n, t] of conditions [n, condition], one for each of the uniforms [n, t] in (0, 1)."""
        chance, choice = _numbers(uniforms, condition.device), choice or Choice()
        if chance.ndim != 2 or len(chance) != len(condition) or not 1 <= chance.shape[1] <= self.size.length:
            raise ValueError(
                f"Uniforms {list(chance.shape)} do not fit {len(condition)} rows of 1 to {self.size.length} tokens."
            )
        cache, logits = self.begin(condition)
        tokens = [draw(logits, chance[:, 0], choice)]
        for column in chance.T[1:]:
            tokens.append(draw(self.step(cache, tokens[-1]), column, choice))
        return torch.stack(tokens, 1)


class Block(nn.Module):
    """The published file calls a block's layers its encoder, after torch's TransformerEncoderLayer."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.encoder = Layer(size, dropout)

    def forward(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """[n, t, width] to the same."""
        out: Tensor = self.encoder(x, cache, layer)
        return out


class Layer(nn.Module):
    """Attention and a hidden layer, each on the normalised sum so far; exact GELU."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(size.width, size.heads, dropout)
        self.linear1, self.linear2 = nn.Linear(size.width, size.hidden), nn.Linear(size.hidden, size.width)
        self.norm1, self.norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """[n, t, width] to the same."""
        x = x + self.drop(self.self_attn(self.norm1(x), cache, layer))
        out: Tensor = x + self.drop(self.linear2(self.drop(functional.gelu(self.linear1(self.norm2(x))))))
        return out


class Attention(nn.Module):
    """Every position looks at itself and those before it; keys as in torch's MultiheadAttention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """[n, t, width] to the same; with a cache, t is 1 and the positions before it are the cache's."""
        parts = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        split = parts.view(*x.shape[:2], 3, self.heads, x.shape[2] // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        dropped = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(
            queries, keys, values, dropout_p=dropped, is_causal=cache is None
        )
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


def kept(logits: Tensor, choice: Choice) -> Tensor:
    """Logits [n, codes] with all but the tokens that may be drawn at -inf."""
    values, tokens = shortlist(logits, choice)
    return torch.full_like(logits, -torch.inf, dtype=torch.float32).scatter(1, tokens, values)


def draw(logits: Tensor, uniforms: Tensor, choice: Choice) -> Tensor:
    """One token a row: where its uniform falls when the shortlist's probabilities are laid end to end, likely first."""
    values, tokens = shortlist(logits, choice)
    ends = values.double().softmax(1).cumsum(1)
    place = (ends <= uniforms[:, None] * ends[:, -1:]).sum(1, keepdim=True)
    last = values.isfinite().sum(1, keepdim=True) - 1  # a uniform may round to 1
    return tokens.gather(1, torch.minimum(place, last))[:, 0]


def shortlist(logits: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """The top_k tokens and their logits / temperature, falling, with -inf past the nucleus (arXiv 1904.09751).

    The nucleus is taken after the top k, and the first token that crosses top_p stays.
    """
    values, tokens = _largest(logits.float() / choice.temperature, choice)
    if choice.top_p < 1:
        before = functional.pad(values.double().softmax(1).cumsum(1), (1, -1))
        values = values.masked_fill(before > choice.top_p, -torch.inf)
    return values, tokens


def _largest(logits: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """Falling, equal ones by token: topk promises no order among equals, so all of them are fetched and sorted."""
    top_k = min(choice.top_k, logits.shape[1])
    threshold = logits.topk(top_k).values[:, -1:]
    most = int((logits >= threshold).sum(1).max())
    tokens = logits.topk(most).indices.sort(1).values
    values, order = logits.gather(1, tokens).sort(stable=True, dim=1, descending=True)
    if choice.published_ties:
        return values.masked_fill(values < threshold, -torch.inf), tokens.gather(1, order)
    return values[:, :top_k], tokens.gather(1, order)[:, :top_k]


def _numbers(uniforms: Tensor | NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.as_tensor(uniforms).double().to(device)


def load(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, heads: int | None = None
) -> GPT:
    """Read the published layout strictly, with or without its masks; ValueError names the first wrong key or shape."""
    checkpoint = Checkpoint.open(source)
    masks = {key: mask for key, mask in checkpoint.weights.items() if MASK.fullmatch(key)}
    weights = {key: weight for key, weight in checkpoint.weights.items() if key not in masks}
    size = size_of(checkpoint, heads)
    Checkpoint(checkpoint.name, weights, checkpoint.changed).check(published(size))
    for key, mask in masks.items():
        _check_mask(mask, size.length, f"{checkpoint.name}: weight {key!r}")
    return build(partial(GPT, size), weights).to(device, dtype)


def size_of(checkpoint: Checkpoint, heads: int | None = None) -> Size:
    """Read the size off the tensors; unless told, a head has 64 channels."""
    _, length, width = checkpoint.shape("pos_emb", 3)
    codes, _ = checkpoint.shape("tok_emb.weight", 2)
    _, condition = checkpoint.shape("cond_proj.weight", 2)
    hidden, _ = checkpoint.shape("blocks.0.encoder.linear1.weight", 2)
    depth = checkpoint.count("blocks.")
    return Size(codes, length, condition, width, hidden, depth, heads or max(1, width // HEAD))


def published(size: Size) -> dict[str, tuple[int, ...]]:
    """Every key of the published file but the masks, with its shape."""
    with torch.device("meta"):
        return {key: tuple(weight.shape) for key, weight in GPT(size).state_dict().items()}


def _check_mask(mask: Tensor, length: int, what: str) -> None:
    """A stored mask must say what the network does without it: a position looks at none after it."""
    if list(mask.shape) != [length, length]:
        raise ValueError(f"{what} has shape {list(mask.shape)}, expected {[length, length]}.")
    if not torch.equal(mask.bool(), torch.ones_like(mask, dtype=torch.bool).triu(1)):
        raise ValueError(f"{what} is not causal; True must stand exactly above the diagonal.")
