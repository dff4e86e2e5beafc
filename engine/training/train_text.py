"""`python -m engine.training text RUN`: the text tower and a small head, learned on the teacher's cached features.

It knows a CLIP's text tower, the lessons and how a run is kept. It does not know image towers: `train_clip` teaches one
against what comes out of here. Both towers from scratch together were tried and did not learn.
"""

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.training.colours import COLOURS, NONE
from engine.training.prompting import Prompter, Words
from engine.training.runs import Keeper, Options, Plan, autocast, load_plan, options
from engine.training.teacher import LABELS, Lessons, load_lessons
from engine.training.text import PACK, Clip, create_clip, encode_rows, open_trained
from engine.training.vocabulary import load_vocabulary
from engine.training.world import load_world

log = logging.getLogger(__name__)


class Head(nn.Module):
    """The teacher's feature to the shared space: a line and a bend beside it."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, hidden: int, dropout: float, features: int = 1280) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.line = nn.Linear(features, width)
        self.bend = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1280] to unit vectors."""
        x = self.dropout((features.float() - self.mean) / self.std)
        return functional.normalize(self.line(x) + self.bend(x), dim=-1)


@dataclass(slots=True)
class Learner:
    """What a step changes and what it reads."""

    clip: Clip
    head: Head
    lessons: Lessons
    prompter: Prompter
    chance: np.ndarray[Any, np.dtype[np.float64]]  # of each Tiny-ImageNet picture
    device: torch.device


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train or go on; DREAMBOT_DATA names the photographs."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("run", choices=("scorer", "judge"), help="whose text tower")
    name = parser.parse_args(argv[:1]).run
    chosen = options(f"{verb} {name}", f"{name}-text", argv[1:], environ)
    plan = load_plan(name)
    learner = build(name, plan, chosen)
    train(learner, plan, chosen)
    return 0


def build(name: str, plan: Plan, chosen: Options) -> Learner:
    """A fresh learner for this run, or one whose text tower is the shipped one, frozen."""
    torch.manual_seed(plan.seed)
    lessons = load_lessons(chosen.data, chosen.cache, chosen.device)
    clip = open_trained(name) if chosen.shipped else create_clip(PACK / f"{name}.json")
    head = Head(clip.model.text_projection.shape[1], plan.text["hidden"], plan.text["dropout"])
    sample = torch.from_numpy(lessons.tiny_features[0, ::37]).float()
    head.mean.copy_(sample.mean(0))
    head.std.copy_(sample.std(0) + 1e-3)
    clip.model.to(chosen.device)
    prompter = Prompter(load_vocabulary(lessons.names), clip.tokenizer, plan.text["drop"])
    return Learner(clip, head.to(chosen.device), lessons, prompter, chances(lessons, plan.pack_weight), chosen.device)


def chances(lessons: Lessons, pack_weight: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each Tiny-ImageNet picture's chance to be shown: the pack's classes come `pack_weight` times as often."""
    weight = np.where(np.isin(lessons.tiny.labels, [label.tiny for label in load_world()]), pack_weight, 1.0)
    return np.cumsum(weight / weight.sum())


def train(learner: Learner, plan: Plan, chosen: Options) -> None:
    """All steps that are left, or as many as `--minutes` allow."""
    model, numbers = learner.clip.model, plan.text
    learned = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("visual.")]
    optimizer = torch.optim.AdamW(
        [*learned, *learner.head.parameters()], lr=numbers["lr"], weight_decay=numbers["decay"], fused=True
    )
    keeper = Keeper(chosen, {"model": model, "head": learner.head, "optimizer": optimizer})
    steps = numbers["head_steps" if chosen.shipped else "steps"]
    for step in keeper.steps(steps):
        progress = step / steps
        for group in optimizer.param_groups:
            group["lr"] = (
                numbers["lr"] * min(1.0, (step + 1) / numbers["warmup"]) * (1 + math.cos(math.pi * progress)) / 2
            )
        losses = step_losses(learner, plan, np.random.default_rng([plan.seed, step]))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        nn.utils.clip_grad_norm_([*learned, *learner.head.parameters()], 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=numbers["most_scale"])
        keeper.note({name: loss.item() for name, loss in losses.items()})


def step_losses(learner: Learner, plan: Plan, rng: np.random.Generator) -> dict[str, Tensor]:
    """Labels among prompts, colours among coloured prompts, captions among captions."""
    numbers, lessons, prompter = plan.text, learner.lessons, learner.prompter
    rows = np.searchsorted(learner.chance, rng.random(numbers["batch"]))
    labels, colours = lessons.tiny.labels[rows], lessons.tiny_colours[rows]
    shown = rng.choice(lessons.flickr_train, numbers["captions"], replace=False)
    sayings = [prompter.saying_of(label, rng) for label in range(LABELS)]
    tinted = np.flatnonzero(colours != NONE)[: numbers["colours"]]
    wrong = (colours[tinted] + rng.integers(1, len(COLOURS), len(tinted))) % len(COLOURS)
    sentences = [prompter.sentence(number, rng) for number in sayings]
    sentences += [prompter.coloured(labels[i], colours[i], rng) for i in tinted]
    sentences += [prompter.coloured(labels[i], other, rng) for i, other in zip(tinted, wrong, strict=True)]
    named, coloured = torch.split(encode(learner, sentences), [LABELS, 2 * len(tinted)])
    captioned = encode(learner, [prompter.caption(_one(lessons.flickr.captions[i], rng), rng) for i in shown])
    pictures = learner.head(_views(lessons.tiny_features, rows, rng, learner.device))
    photographs = learner.head(_views(lessons.flickr_features, shown, rng, learner.device))
    scale = learner.clip.model.logit_scale.exp()
    target = torch.from_numpy(labels).to(learner.device)
    offered = torch.from_numpy(np.concatenate([labels[tinted], labels[tinted]])).to(learner.device)
    tints = torch.from_numpy(np.concatenate([colours[tinted], wrong])).to(learner.device)
    pairs = scale * photographs @ captioned.T
    same = torch.arange(len(shown), device=learner.device)
    return {
        "label": label_loss(scale * pictures @ named.T, target, prompter.truth[sayings].to(learner.device)),
        "colour": numbers["colour"] * colour_loss(scale * pictures[tinted] @ coloured.T, offered, tints),
        "caption": numbers["caption"]
        * (functional.cross_entropy(pairs, same) + functional.cross_entropy(pairs.T, same))
        / 2,
    }


def encode(learner: Learner, sentences: Sequence[Words]) -> Tensor:
    """Unit vectors. Plain attention: at these lengths the CPU's flash kernel spends half the step in its backward."""
    rows = learner.prompter.rows(sentences).to(learner.device)
    with autocast(learner.device), sdpa_kernel(SDPBackend.MATH):
        return encode_rows(learner.clip.model, rows)


def label_loss(logits: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy over one prompt a label; a prompt that is also true of the picture's label is no wrong answer."""
    also = truth.T[labels]  # [n, prompts]: prompt j is true of picture i
    also[torch.arange(len(labels), device=labels.device), labels] = False
    return functional.cross_entropy(logits.masked_fill(also, -torch.inf), labels, label_smoothing=0.0)


def colour_loss(logits: Tensor, labels: Tensor, colours: Tensor) -> Tensor:
    """Row i's own prompt is column i; other columns of the same label and colour are no wrong answers."""
    n = len(logits)
    twin = (labels[:n, None] == labels) & (colours[:n, None] == colours)
    own = torch.arange(n, device=logits.device)
    twin[own, own] = False
    return functional.cross_entropy(logits.masked_fill(twin, -torch.inf), own)


def colour_choice(colours: np.ndarray[Any, Any], device: torch.device) -> tuple[Tensor, Tensor]:
    """The rows whose middle has a colour, and which."""
    tinted = np.flatnonzero(colours != NONE)
    return torch.from_numpy(tinted).to(device), torch.from_numpy(colours[tinted]).to(device)


def _views(features: np.ndarray[Any, Any], rows: Any, rng: np.random.Generator, device: torch.device) -> Tensor:
    return torch.from_numpy(features[rng.integers(0, 2, len(rows)), rows]).to(device)


def _one(captions: Sequence[str], rng: np.random.Generator) -> str:
    return captions[int(rng.integers(len(captions)))]


def head_of(folder: Path, plan: Plan, width: int) -> tuple[Head, dict[str, Tensor]]:
    """What a finished text run left behind: the teacher's head and the model's state."""
    path = folder / "checkpoint.pt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `python -m engine.training text` first.")
    kept = torch.load(path, map_location="cpu", weights_only=True)
    head = Head(width, plan.text["hidden"], plan.text["dropout"])
    head.load_state_dict(kept["head"])
    return head.eval().requires_grad_(False), kept["model"]
