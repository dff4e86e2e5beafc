"""`python -m engine.training gpt`: learn which tokens of a trained VQGAN follow a CLIP embedding (arXiv 2203.00386).

It knows the GPT, its one loss (the cross entropy of every token) and how a run is kept. It does not know how tokens
become pictures, nor what conditions are made of (`conditions` does). `--vqgan` names the run whose codes are learned.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.generators.gpt import GPT, Size
from engine.generators.vqgan import VQGAN
from engine.training import train_vqgan
from engine.training.album import Album, Task, load_album, read_task, to_unit
from engine.training.conditions import Conditions
from engine.training.data import tiny_imagenet_names
from engine.training.runs import HERE, Keeper, autocast, log
from engine.training.slow import Slow
from engine.training.text import PACK, open_trained
from engine.training.vocabulary import load_vocabulary
from engine.weights import text_tower_digest

RECIPE = HERE / "gpt.toml"
SCORER = PACK / "scorer.safetensors"
UNKNOWN = -1


class Tokens:
    """The album's pictures and their mirrors as tokens, each encoded when it first comes up."""

    def __init__(self, album: Album, vqgan: VQGAN, device: torch.device) -> None:
        self.album, self.device = album, device
        self.vqgan = vqgan.to(device).to(memory_format=torch.channels_last)
        self.known = np.full((len(album.pictures), 2, vqgan.grid**2), UNKNOWN, np.int16)

    @torch.no_grad()
    def __call__(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Tensor:
        """Tokens [n, length] of these views."""
        turned = mirrored.astype(np.int64)
        new = self.known[rows, turned, 0] == UNKNOWN
        if new.any():
            pictures = to_unit(self.album.views(rows[new], mirrored[new]), self.device)
            with autocast(self.device):
                found = self.vqgan.encode(pictures.contiguous(memory_format=torch.channels_last))
            self.known[rows[new], turned[new]] = found.cpu().numpy().astype(np.int16)
        return torch.from_numpy(self.known[rows, turned].astype(np.int64)).to(self.device)


class Learner:
    """What a step changes and what it reads."""

    def __init__(
        self, numbers: Mapping[str, Any], tokens: Tokens, conditions: Conditions, device: torch.device
    ) -> None:
        torch.manual_seed(numbers["seed"])
        self.numbers, self.tokens, self.conditions, self.device = numbers, tokens, conditions, device
        shape = tokens.vqgan.shape
        size = Size(shape.codes, shape.grid**2, conditions.width, **numbers["size"])
        self.network = GPT(size, numbers["dropout"]).to(device)
        _begin(self.network)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, numbers["decay"]), lr=1.0, betas=tuple(numbers["betas"])
        )
        self.slow = Slow(self.network, numbers["average"])

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"network": self.network, "optimizer": self.optimizer, "slow": self.slow}

    def step(self, step: int) -> dict[str, float]:
        """Show one batch; answers with the loss in nats a token."""
        rng = np.random.default_rng([self.numbers["seed"], step])
        torch.manual_seed(int(rng.integers(2**31)))  # dropout's
        for group in self.optimizer.param_groups:
            group["lr"] = train_vqgan.rate_at(self.numbers, step)
        rows = self.tokens.album.draw(self.numbers["batch"], rng)
        mirrored = rng.random(len(rows)) < 0.5
        wanted = self.tokens(rows, mirrored)
        condition = self.conditions.draw(rows, mirrored, rng).to(self.device)
        with autocast(self.device), sdpa_kernel(SDPBackend.MATH):  # the CPU's flash attention is slow on the way back
            logits = self.network(wanted[:, :-1], condition)
        loss = functional.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.numbers["clip"])
        self.optimizer.step()
        self.slow.follow(step)
        return {"nats": loss.item()}


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train or go on."""
    task = read_task(verb, argv, environ, RECIPE)
    if task.export is not None:
        export(task.options.out, task.numbers, task.export)
    else:
        train(build(task), task)
    return 0


def build(task: Task) -> Learner:
    """A fresh learner; the pack's scorer embeds, the run beside this one has the codes."""
    vqgan = train_vqgan.averaged(task.codes)
    album = load_album(task, vqgan.resolution)
    vocabulary = load_vocabulary(tiny_imagenet_names(task.options.data)) if task.pictures is None else None
    conditions = Conditions(album, open_trained("scorer"), task.numbers["condition"], vocabulary)
    return Learner(task.numbers, Tokens(album, vqgan, task.options.device), conditions, task.options.device)


def train(learner: Learner, task: Task) -> None:
    """All steps that are left, or as many as there is time for."""
    log.info("%d weights", sum(weight.numel() for weight in learner.network.parameters()))
    keeper = Keeper(task.options, learner.parts)
    for step in keeper.steps(task.numbers["steps"]):
        keeper.note(learner.step(step))


def _begin(network: GPT) -> None:
    """Small first weights, as GPT-2's (0.02), and smaller ones on the way back into the sum."""
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            inward = name.endswith(("out_proj.weight", "linear2.weight"))
            nn.init.normal_(weight, std=0.02 / (2 * network.size.depth) ** 0.5 if inward else 0.02)
    nn.init.normal_(network.cond_proj.weight, std=1.0 / network.size.condition**0.5)


def _groups(network: GPT, decay: float) -> list[dict[str, Any]]:
    matrices = [w for n, w in network.named_parameters() if w.ndim > 1 and "emb" not in n]
    others = [w for n, w in network.named_parameters() if w.ndim < 2 or "emb" in n]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def averaged(run: Path, numbers: Mapping[str, Any]) -> GPT:
    """The moving average of a run, frozen."""
    kept = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["slow"]
    codes, length, condition = len(kept["tok_emb.weight"]), kept["pos_emb"].shape[1], kept["cond_proj.weight"].shape[1]
    network = GPT(Size(codes, length, condition, **numbers["size"]))
    network.load_state_dict(kept)
    return network.eval().requires_grad_(False)


def export(run: Path, numbers: Mapping[str, Any], folder: Path, scorer: Path = SCORER) -> None:
    """The moving average in fp16; its header says how it wants to be drawn from, and after whose embeddings."""
    weights = {name: weight.half().contiguous() for name, weight in averaged(run, numbers).state_dict().items()}
    drawing = {"heads": numbers["size"]["heads"], **numbers["drawing"], "condition": text_tower_digest(scorer)}
    save_file(weights, folder / "gpt.safetensors", {"drawing": json.dumps(drawing)})
