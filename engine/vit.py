"""A frozen ViT on a CPU (arXiv 2010.11929, as open_clip lays it out): embeddings, and their gradient in the pixels.

open_clip's own layers copy their weights once for every picture and walk attention backwards place by place. Here a
linear layer is one product over all places of all pictures, patches included; attention is two batched products, and
four backwards; and the last layer computes the one place that is read. Knows layers and numbers; what a picture shows
or a word means stands in `clip`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)


class Attend(torch.autograd.Function):
    """softmax(q k' / sqrt(d)) v by batched products: q (n, s, h, d), k and v (n, t, 2, h, d) to (n, s, h, d)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, both: Tensor) -> Tensor:
        """The softmax is one pass in fp32."""
        q = query.transpose(1, 2).flatten(0, 1)
        k, v = both.permute(2, 0, 3, 1, 4).flatten(1, 2)
        scale = q.shape[-1] ** -0.5
        share = torch.softmax(torch.bmm(q, k.transpose(1, 2)) * scale, -1, dtype=torch.float32).to(q.dtype)
        ctx.save_for_backward(q, k, v, share)
        n, s, h, d = query.shape
        return torch.bmm(share, v).view(n, h, s, d).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """The textbook gradient; what the softmax lets through is summed in fp32."""
        q, k, v, share = ctx.saved_tensors
        n, s, h, d = grads[0].shape
        out = grads[0].transpose(1, 2).flatten(0, 1)
        to_share = torch.bmm(out, v.transpose(1, 2))
        to_score = torch.ops.aten._softmax_backward_data(to_share, share, -1, share.dtype) * d**-0.5
        both = k.new_empty(2, *k.shape)
        torch.bmm(to_score.transpose(1, 2), q, out=both[0])
        torch.bmm(share.transpose(1, 2), out, out=both[1])
        to_query = torch.bmm(to_score, k).view(n, h, s, d).transpose(1, 2)
        return to_query, both.view(2, n, h, -1, d).permute(1, 3, 0, 2, 4)


class FrozenViT:
    """open_clip's `VisionTransformer` whose weights never change; `clip` says which of them are plain enough."""

    def __init__(self, visual: Any) -> None:
        self._visual: Any = visual
        self._patches = visual.conv1.weight.detach().flatten(1).contiguous()
        place = visual.positional_embedding.detach()
        self._first, self._places = place[:1] + visual.class_embedding.detach(), place[1:]
        self._only_first = visual.pool_type == "tok"

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures (n, 3, side, side) to embeddings (n, d), neither of unit length; differentiable in the pictures."""
        visual = self._visual
        x: Tensor = visual.ln_pre(self._embedded(images))
        *earlier, last = visual.transformer.resblocks
        for block in earlier:
            x = self._block(block, x, x.shape[1])
        x = self._block(last, x, 1 if self._only_first else x.shape[1])
        pooled, _ = visual._pool(x)
        embeddings: Tensor = pooled if visual.proj is None else pooled @ visual.proj
        return embeddings

    def _embedded(self, images: Tensor) -> Tensor:
        """Every patch by one linear layer, and its place: (n, places, width), the class's first."""
        side = self._visual.conv1.kernel_size[0]
        grid = images.shape[-1] // side
        cut = images.reshape(len(images), 3, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5)
        seen = F.linear(cut.reshape(len(images), grid * grid, -1), self._patches)
        return torch.cat([self._first.expand(len(images), 1, -1), seen + self._places], 1)

    def _block(self, block: Any, x: Tensor, seen: int) -> Tensor:
        """One layer, of which the first `seen` places are computed: (n, t, width) to (n, seen, width)."""
        n, places, width = x.shape
        heads = block.attn.num_heads
        weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
        normed = block.ln_1(x)
        query = _linear(normed[:, :seen], weight[:width], bias[:width]).view(n, seen, heads, -1)
        both = _linear(normed, weight[width:], bias[width:]).view(n, places, 2, heads, -1)
        attended: Tensor = Attend.apply(query, both)
        x = x[:, :seen] + _linear(attended.flatten(2), block.attn.out_proj.weight, block.attn.out_proj.bias)
        inner = _linear(block.ln_2(x), block.mlp.c_fc.weight, block.mlp.c_fc.bias)
        return x + _linear(block.mlp.gelu(inner), block.mlp.c_proj.weight, block.mlp.c_proj.bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Over the rows (n, t, in) as one matrix: with three dimensions torch may copy the weights for every picture."""
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight.t()).view(*x.shape[:-1], -1)
