"""A run that begins with the shipped generator: its weights in the training network, its looks on the new rows.

It knows the pack's file and features of photographs and pictures. It does not know what is learned afterwards. Folding
only rescales and shifts what batch statistics undo again, so folded convolutions go back as they are.
"""

import torch
from torch import Tensor

from engine.generators.embedded import EmbeddedGenerator, load
from engine.training.export import PACK
from engine.training.features import MobileNet
from engine.training.figures import see
from engine.training.photographs import Photographs
from engine.training.watch import paint

PER_ROW = 24  # pictures that stand for an old look
SHARPNESS = 4.0  # of the choice among old looks
NOISE = 0.3  # on a row that is taken over, as a share of its length
SEED = 5


def shipped_weights(fresh: EmbeddedGenerator, net: MobileNet, photographs: Photographs) -> dict[str, Tensor]:
    """The state to load into `fresh`. ValueError if the shipped generator's classes or widths are others."""
    old = load(PACK).to(net.device)
    if (old.shape.classes, old.shape.widths) != (fresh.shape.classes, fresh.shape.widths):
        raise ValueError("The shipped generator has other classes or widths than the recipe.")
    state = dict(fresh.state_dict())
    for name, weight in old.state_dict().items():
        if name != "embedding.weight":
            state[name] = weight.float().clone()
    state["embedding.weight"] = _rows(old, fresh, net, photographs)
    return state


def _rows(old: EmbeddedGenerator, fresh: EmbeddedGenerator, net: MobileNet, photographs: Photographs) -> Tensor:
    """Every new look begins as a mixture of its class's old looks, the nearer by the frozen network the more."""
    drawn = paint(old, torch.arange(old.shape.rows).repeat_interleave(PER_ROW), SEED)
    before = see(net, drawn).pooled.view(len(old.shape.classes), old.shape.variants, PER_ROW, -1).mean(2)
    pools, counts = photographs.pools.cpu(), photographs.counts.cpu()
    pooled = photographs.pooled.cpu()
    wanted = torch.stack([pooled[pools[row, : counts[row]]].mean(0) for row in range(fresh.shape.rows)])
    wanted = wanted.view(len(fresh.shape.classes), fresh.shape.variants, -1)
    apart = torch.cdist(wanted.float(), before.float())
    share = torch.softmax(-SHARPNESS * apart / apart.mean((1, 2), keepdim=True) * old.shape.variants, 2)
    known = old.embedding.weight.detach().float().cpu().view(len(old.shape.classes), old.shape.variants, -1)
    rows = (share @ known).flatten(0, 1)
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(SEED))
    scale = rows.square().mean(1, keepdim=True).sqrt()
    return (rows + NOISE * scale * noise).to(fresh.embedding.weight.device)
