"""`python -m engine.training vqgan`: learn to draw pictures with a table of codes (taming's VQGAN without its critic).

It knows the encoder, the table and the decoder, their losses, and how a run is kept. It does not know texts or CLIP.
Two parts: first everything learns; then, so that tokens mean the same for ever, the decoder alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.vqgan import DECODER_ONLY, VQGAN, Shape
from engine.training.album import Album, Task, load_album, read_task, to_unit
from engine.training.features import MobileNet
from engine.training.patches import Patches, fit
from engine.training.runs import HERE, Keeper, autocast
from engine.training.slow import Slow

RECIPE = HERE / "vqgan.toml"
LEARNED, PATCHES = "learned", "patches"
SHAPE = "shape.json"  # in the run's folder


class Table(nn.Module):
    """Codes that follow the running mean of the encoder's cells nearest to them; one that loses all starts anew."""

    count: Tensor
    total: Tensor

    def __init__(self, codes: nn.Embedding, keep: float, least: float) -> None:
        super().__init__()
        self.keep, self.least, self.codes = keep, least, codes
        codes.weight.requires_grad_(False)
        self.register_buffer("count", torch.zeros(len(codes.weight)))
        self.register_buffer("total", codes.weight.detach().clone())

    @torch.no_grad()
    def follow(self, cells: Tensor, tokens: Tensor, rng: np.random.Generator) -> None:
        """Move towards cells [n, dim] that were given these tokens [n]."""
        seen = torch.bincount(tokens, minlength=len(self.count)).float()
        self.count.mul_(self.keep).add_(seen, alpha=1 - self.keep)
        self.total.mul_(self.keep).index_add_(0, tokens, cells, alpha=1 - self.keep)
        lost = (self.count < self.least).nonzero()[:, 0]
        if len(lost):
            fresh = torch.from_numpy(rng.integers(0, len(cells), len(lost))).to(cells.device)
            self.count[lost] = 2 * self.least
            self.total[lost] = 2 * self.least * cells[fresh]
        self.codes.weight.copy_(self.total / self.count[:, None])


class Learner:
    """What a step changes and what it reads."""

    def __init__(self, numbers: Mapping[str, Any], album: Album, net: MobileNet | None, device: torch.device) -> None:
        torch.manual_seed(numbers["seed"])
        self.numbers, self.album, self.net, self.device = numbers, album, net, device
        self.network = network_of(shape_of(numbers), numbers["encoder"])
        if isinstance(self.network.encoder, Patches):
            fit(album, self.network.encoder, self.network.quantizer, np.random.default_rng(numbers["seed"]))
        self.network.to(device).to(memory_format=torch.channels_last)
        self.table = Table(self.network.quantizer.embedding, **numbers["table"])
        both = (*self.network.encoder.parameters(), *self.network.decoder.parameters())
        self.learned = [weight for weight in both if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learned, lr=1.0, betas=tuple(numbers["betas"]), weight_decay=0.0)
        self.slow = Slow(self.network, numbers["average"])

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds; the table's codes are the network's."""
        return {"network": self.network, "table": self.table, "optimizer": self.optimizer, "slow": self.slow}

    def step(self, step: int) -> dict[str, float]:
        """Show one batch; answers with the losses."""
        numbers, rng = self.numbers, np.random.default_rng([self.numbers["seed"], step])
        frozen = step >= numbers["steps"]  # the tokens' meaning
        if step == numbers["steps"]:
            self.network.load_state_dict(self.slow.average)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(numbers, step)
        rows = self.album.draw(numbers["batch"], rng)
        real = to_unit(self.album.views(rows, rng.random(len(rows)) < 0.5), self.device)
        with autocast(self.device):
            drawn, losses = self._shown(real.contiguous(memory_format=torch.channels_last), frozen, rng)
        weight = numbers["weights"]
        losses["distance"] = (drawn - real).abs().mean()
        if self.net is not None:
            losses["perceptual"] = perceptual(self.net, drawn, real, **numbers["perceptual"])
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack([weight[name] * loss for name, loss in losses.items()]).sum())
        nn.utils.clip_grad_norm_(self.learned, numbers["clip"])
        self.optimizer.step()
        self.slow.follow(step)
        return {name: loss.item() for name, loss in losses.items()}

    def _shown(self, real: Tensor, frozen: bool, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures through the table and back; the gradient passes the table as if it were not there."""
        quantizer = self.network.quantizer
        with torch.set_grad_enabled(not frozen):
            z = self.network.encoder(real).float()
        tokens = quantizer.nearest(z.detach())
        codes = quantizer.lookup(tokens).transpose(1, 2).reshape(z.shape)
        if frozen:
            return self.network.paint(codes).float(), {}
        self.table.follow(z.detach().flatten(2).transpose(1, 2).flatten(0, 1), tokens.flatten(), rng)
        drawn = self.network.paint(z + (codes - z).detach()).float()
        return drawn, {"commit": functional.mse_loss(z, codes)}


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train or go on."""
    task = read_task(verb, argv, environ, RECIPE)
    if task.export is not None:
        export(task.options.out, task.export)
    else:
        train(build(task), task)
    return 0


def build(task: Task) -> Learner:
    """A fresh learner; without DREAMBOT_DATA's frozen network pictures are compared pixel by pixel alone."""
    folder = task.options.data
    known = (folder / "mobilenet_v2.npz").is_file()
    net = MobileNet.load(folder, task.options.device) if known else None
    return Learner(task.numbers, load_album(task, shape_of(task.numbers).resolution), net, task.options.device)


def train(learner: Learner, task: Task) -> None:
    """All steps that are left, or as many as there is time for."""
    keeper = Keeper(task.options, learner.parts)
    (task.options.out / SHAPE).write_text(learner.network.shape.to_metadata()["shape"], encoding="utf-8")
    for step in keeper.steps(task.numbers["steps"] + task.numbers["decoder"]["steps"]):
        keeper.note(learner.step(step))


def network_of(shape: Shape, encoder: str) -> VQGAN:
    """Untrained; with the paper's encoder, or with one that is computed."""
    if encoder not in (LEARNED, PATCHES):
        raise ValueError(f"encoder is {LEARNED} or {PATCHES}; {encoder!r} is not.")
    network = VQGAN(shape, encodes=encoder == LEARNED)
    if encoder == PATCHES:
        network.encoder, network.encodes = Patches(shape), True
    return network


def shape_of(numbers: Mapping[str, Any]) -> Shape:
    """The TOML's shape."""
    fields = dict(numbers["shape"])
    return Shape(**fields | {name: tuple(fields[name]) for name in ("multipliers", "attention")})


def rate_at(numbers: Mapping[str, Any], step: int) -> float:
    """Up over the warm-up, level, and down; the decoder's own part starts at its own rate and falls likewise."""
    first, length, rate = 0, int(numbers["steps"]), float(numbers["rate"])
    if step >= length:
        first, length, rate = length, int(numbers["decoder"]["steps"]), float(numbers["decoder"]["rate"])
    done = (step - first) / length
    falling: float = max(0.0, (done - numbers["decay_from"]) / (1 - numbers["decay_from"]))
    return (
        rate
        * min(1.0, (step - first + 1) / float(numbers["warmup"]))
        * (1 - falling * (1 - float(numbers["decay_to"])))
    )


def perceptual(net: MobileNet, drawn: Tensor, real: Tensor, side: int, maps: int) -> Tensor:
    """How far two pictures lie apart for the frozen network: cells of length 1, squared distance, mean over cells.

    As LPIPS (arXiv 1801.03924) without its learned weights.
    """
    with torch.no_grad():
        wanted = net(_enlarged(real, side)).maps[:maps]
    found = net(_enlarged(drawn, side)).maps[:maps]
    apart = [(_unit(one) - _unit(other)).square().sum(1).mean() for one, other in zip(found, wanted, strict=True)]
    return torch.stack(apart).mean()


def _enlarged(pictures: Tensor, side: int) -> Tensor:
    return functional.interpolate((pictures + 1) / 2, size=(side, side), mode="bilinear")


def _unit(cells: Tensor) -> Tensor:
    return functional.normalize(cells.float(), dim=1)


def averaged(run: Path) -> VQGAN:
    """The moving average of a run, frozen; the run's own shape stands beside its checkpoint."""
    kept = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["slow"]
    encoder = PATCHES if "encoder.look.weight" in kept else LEARNED
    network = network_of(Shape.from_metadata({"shape": (run / SHAPE).read_text(encoding="utf-8")}), encoder)
    network.load_state_dict(kept)
    return network.eval().requires_grad_(False)


def export(run: Path, folder: Path) -> None:
    """The moving average in fp16, without the encoder: what draws."""
    network = averaged(run)
    weights = {
        name: w.half().contiguous() for name, w in network.state_dict().items() if not name.startswith("encoder.")
    }
    save_file(weights, folder / "vqgan.safetensors", network.shape.to_metadata() | DECODER_ONLY)
