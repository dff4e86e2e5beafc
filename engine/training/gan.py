"""What the generator wears only while it trains: batch statistics, their folding, its moving average and its losses.

It knows the mathematics of one step. It knows no file, no clock and no photograph.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.embedded import SLOPE, EmbeddedGenerator, Shape

EPS = 1e-5


class BatchModulate(nn.Module):
    """`Modulate` after normalising by the batch's own statistics; it remembers their running mean for the folding."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.momentum = 0.02
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """`gain` and `shift` are [n, channels]."""
        out, mean, var = _BatchModulate.apply(x, gain, shift)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var, self.momentum)
        return out  # type: ignore[no-any-return]


class _BatchModulate(torch.autograd.Function):
    """Batch normalisation, per-row scale and shift, leaky ReLU. Sums over pixels are matrix products: torch's own
    bf16 batch normalisation takes over half of a CPU training step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = _pixels(x)
        count = pixels.shape[0] * pixels.shape[1]
        mean = _sums(pixels).sum(0) / count
        var = (_sums(pixels * pixels).sum(0) / count - mean * mean).clamp_min_(0)
        scale = torch.rsqrt(var + EPS)
        slope = gain.float() * scale
        offset = shift.float() - mean * slope
        out = torch.addcmul(offset[:, None].to(x.dtype), pixels, slope[:, None].to(x.dtype))
        out = functional.leaky_relu_(out, SLOPE)
        ctx.save_for_backward(pixels, out, gain.float(), mean, scale)
        ctx.dtypes = gain.dtype, shift.dtype
        ctx.mark_non_differentiable(mean, var)
        return _maps(out, x), mean, var

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels, out, gain, mean, scale = ctx.saved_tensors
        flow = torch.ops.aten.leaky_relu_backward(_pixels(gradient), out, SLOPE, True)
        d_shift = _sums(flow)
        d_gain = scale * (_sums(flow * pixels) - mean * d_shift)
        count = pixels.shape[0] * pixels.shape[1]
        common = (gain * d_shift).sum(0) / count
        along = (gain * d_gain).sum(0) / count
        constant = scale * (scale * mean * along - common)
        d_x = torch.addcmul(constant.to(flow.dtype), pixels, (-scale * scale * along).to(flow.dtype))
        d_x.addcmul_(flow, (gain * scale)[:, None].to(flow.dtype))
        return _maps(d_x, gradient), d_gain.to(ctx.dtypes[0]), d_shift.to(ctx.dtypes[1])


def _pixels(x: Tensor) -> Tensor:
    """[n, c, h, w] to [n, h*w, c], without a copy when the memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1])


def _maps(pixels: Tensor, like: Tensor) -> Tensor:
    n, c, h, w = like.shape
    return pixels.view(n, h, w, c).permute(0, 3, 1, 2)


def _sums(pixels: Tensor) -> Tensor:
    """Each row's sum over its pixels, [n, c], in fp32."""
    ones = pixels.new_ones(1, 1, 1).expand(pixels.shape[0], 1, pixels.shape[1]).contiguous()
    return torch.bmm(ones, pixels)[:, 0].float()


def new_generator(shape: Shape) -> EmbeddedGenerator:
    """An untrained generator with batch statistics; a class's looks start near each other."""
    generator = EmbeddedGenerator(shape, BatchModulate)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d) and module.weight.shape[0] > 3:
            nn.init.kaiming_normal_(module.weight, SLOPE)
    for conv in generator.convs:
        conv.bias.requires_grad_(False)  # batch statistics undo it; folding writes it
    nn.init.normal_(generator.affine.weight, std=0.02)
    with torch.no_grad():
        generator.affine.bias.zero_()
        own = torch.randn(len(shape.classes), 1, shape.dim_y)
        looks = torch.randn(len(shape.classes), shape.variants, shape.dim_y)
        generator.embedding.weight.copy_((0.8 * own + 0.6 * looks).flatten(0, 1))
    return generator.to(memory_format=torch.channels_last)


def average(slow: EmbeddedGenerator, fast: EmbeddedGenerator, keep: float) -> None:
    """Move the moving average towards the trained weights; `keep` is what stays of it."""
    with torch.no_grad():
        torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - keep)


@torch.no_grad()
def fold(trained: EmbeddedGenerator, batches: int, size: int, seed: int, fast: bool = False) -> EmbeddedGenerator:
    """The generator that ships: statistics measured anew over random rows (in bf16 if `fast`), then folded into the
    convolutions."""
    measured = copy.deepcopy(trained).train()
    device = measured.start.weight.device
    modulations = [part for part in measured.modulations if isinstance(part, BatchModulate)]
    source = torch.Generator().manual_seed(seed)
    for batch in range(batches):
        for modulation in modulations:
            modulation.momentum = 1 / (batch + 1)
        z = torch.randn(size, measured.dim_z, generator=source).to(device)
        labels = torch.randint(measured.shape.rows, (size,), generator=source).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            measured(z, measured.embed(labels))
    folded = EmbeddedGenerator(measured.shape).to(device)
    weights = {key: value for key, value in measured.state_dict().items() if not key.startswith("modulations.")}
    for number, modulation in enumerate(modulations):
        scale = torch.rsqrt(modulation.var + EPS)
        kernel, bias = f"convs.{number}.weight", f"convs.{number}.bias"
        weights[bias] = (weights[bias] - modulation.mean) * scale
        weights[kernel] = weights[kernel] * scale[:, None, None, None]
    folded.load_state_dict(weights)
    ready: EmbeddedGenerator = folded.to(memory_format=torch.channels_last).eval()
    return ready


class Spread(NamedTuple):
    """How far two pictures of one row lie apart, and what that costs."""

    loss: Tensor
    seen: Tensor  # in features, as a share of photographs'
    pixels: Tensor


def diversity(fake: list[Tensor], real: list[Tensor]) -> Spread:
    """Pairs (i, i + n/2) share row and augmentation; fakes nearer to each other than photographs are punished.

    The last term is of pixels and counts as much as all others, of features: those alone are fooled by fine noise.
    """
    terms = []
    for ours, theirs in zip(fake, real, strict=True):
        target = _apart(theirs).mean().clamp_min(1e-6)
        terms.append(_apart(ours) / target)
    missing = torch.stack([functional.relu(1 - term).mean() for term in terms])
    ratio = torch.stack([term.mean() for term in terms])
    return Spread((missing[:-1].mean() + missing[-1]) / 2, ratio[:-1].mean(), ratio[-1])


def layout(maps: Tensor) -> Tensor:
    """Where things are, without how strong or of what colour: two pictures must not differ by their tint alone."""
    centred = maps.float() - maps.float().mean((2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean((1, 2, 3), keepdim=True) + 1e-4)


def _apart(batch: Tensor) -> Tensor:
    one, other = batch.float().flatten(1).chunk(2)
    return (one - other).abs().mean(1)


def hinge_critic(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss of the critic, summed over its heads."""
    terms = [
        functional.relu(1 - r.float()).mean() + functional.relu(1 + f.float()).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).sum()


def hinge_generator(fake: list[Tensor]) -> Tensor:
    """What the generator makes of the same logits."""
    return -torch.stack([f.float().mean() for f in fake]).sum()
