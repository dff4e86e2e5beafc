"""`python -m engine.training scorer` (or `judge`): an image tower from nothing, against the frozen text tower.

It knows how pictures are shown, the five losses, the phases of the TOML and the export. It does not know how the text
tower came to be (`train_text`), nor how good the result is (`evaluate_clip`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.training.bank import Bank, build_bank
from engine.training.runs import Keeper, Options, Plan, autocast, load_plan, options
from engine.training.teacher import LABELS, Lessons, load_lessons
from engine.training.text import PACK, Clip, create_clip, open_trained, save_weights
from engine.training.train_text import chances, colour_choice, head_of, label_loss
from engine.training.views import vary

log = logging.getLogger(__name__)
EXPORT = "--export"


@dataclass(slots=True)
class Learner:
    """What a step changes and what it reads."""

    clip: Clip
    average: dict[str, Tensor]  # of the tower's state: what is exported
    lessons: Lessons
    bank: Bank
    chance: NDArray[np.float64]
    device: torch.device


class Average:
    """The slow copy of the tower's state, kept in the checkpoint beside it."""

    def __init__(self, average: dict[str, Tensor]) -> None:
        self.average = average

    def state_dict(self) -> dict[str, Tensor]:
        """For the keeper."""
        return self.average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """For the keeper."""
        for name, value in state.items():
            self.average[name].copy_(value)


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train or go on; with `--export`, write what the checkpoint holds into the pack's folder instead."""
    chosen = options(verb, verb, [word for word in argv if word != EXPORT], environ)
    plan = load_plan(verb)
    if EXPORT in argv:
        export(verb, plan, chosen.out)
    else:
        train(build(verb, plan, chosen), plan, chosen)
    return 0


def export(name: str, plan: Plan, out: Path) -> None:
    """The text tower of `OUT-text` and the averaged image tower of OUT, as one fp16 file of the pack."""
    clip = create_clip(PACK / f"{name}.json")
    _, state = head_of(text_folder(out), plan, clip.model.text_projection.shape[1])
    kept = torch.load(out / "checkpoint.pt", map_location="cpu", weights_only=True)
    tower = {f"visual.{key}": value for key, value in kept["average"].items()}
    clip.model.load_state_dict({**state, **tower})
    save_weights(clip.model, PACK / f"{name}.safetensors")
    log.info("step %d is now %s.safetensors", kept["step"], name)


def text_folder(out: Path) -> Path:
    """Where the text run of the same name keeps its checkpoint."""
    return out.with_name(f"{out.name}-text")


def build(name: str, plan: Plan, chosen: Options) -> Learner:
    """A fresh or the shipped image tower beside the text tower that `text` left in `OUT-text`."""
    torch.manual_seed(plan.seed)
    lessons = load_lessons(chosen.data, chosen.cache, chosen.device)
    clip = open_trained(name) if chosen.shipped else create_clip(PACK / f"{name}.json")
    clip.model.requires_grad_(True)
    head, state = head_of(text_folder(chosen.out), plan, clip.model.text_projection.shape[1])
    fresh = {key: value for key, value in clip.model.state_dict().items() if key.startswith("visual.")}
    clip.model.load_state_dict({**state, **fresh})
    clip.model.to(chosen.device, memory_format=torch.channels_last)
    bank = build_bank(clip, head.to(chosen.device), lessons, plan, chosen.device)
    average = {key: value.detach().clone() for key, value in clip.model.visual.state_dict().items()}
    return Learner(clip, average, lessons, bank, chances(lessons, plan.pack_weight), chosen.device)


def train(learner: Learner, plan: Plan, chosen: Options) -> None:
    """The phases, one after the other: enlargement and learning rate change, the tower goes on."""
    tower, numbers = learner.clip.model.visual.train(), plan.image
    optimizer = torch.optim.AdamW(_groups(tower, numbers["decay"]), lr=1e-3, betas=(0.9, 0.98), fused=True)
    parts = {"tower": tower, "average": Average(learner.average), "optimizer": optimizer}
    keeper = Keeper(chosen, parts)
    phases = numbers["again" if chosen.shipped else "phases"]
    last = sum(phase["steps"] for phase in phases)
    for step in keeper.steps(last):
        phase, rate = _moment(phases, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = step_losses(learner, {**numbers, **phase}, np.random.default_rng([plan.seed, 1, step]))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        nn.utils.clip_grad_norm_(tower.parameters(), numbers["clip"])
        optimizer.step()
        _follow(learner.average, tower.state_dict(), min(numbers["average"], (1 + step) / (10 + step)))
        keeper.note({name: loss.item() for name, loss in losses.items()})


def step_losses(learner: Learner, numbers: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Tensor]:
    """One batch: Tiny-ImageNet's pictures first, then Flickr8k's. `numbers`: the plan's, and the phase's over them."""
    lessons, bank = learner.lessons, learner.bank
    rows = np.searchsorted(learner.chance, rng.random(numbers["batch"]))
    shown = rng.integers(0, len(lessons.flickr_train), numbers["captions"])
    mirrored = rng.integers(0, 2, len(rows) + len(shown))
    pictures = np.concatenate([lessons.tiny.pictures[rows], lessons.flickr.pictures[lessons.flickr_train[shown]]])
    seen = see(learner, torch.from_numpy(pictures).to(learner.device), mirrored, numbers, rng)
    taught = torch.cat([bank.tiny[mirrored[: len(rows)], rows], bank.flickr[mirrored[len(rows) :], shown]])
    taught = taught.to(learner.device).float()
    tiny, photographs = torch.split(seen, [len(rows), len(shown)])
    labels = torch.from_numpy(lessons.tiny.labels[rows]).to(learner.device)
    label, distil = _label_losses(bank, tiny, taught[: len(rows)], labels, rng)
    weight = numbers["weights"]
    return {
        "label": weight["label"] * label,
        "distil": weight["distil"] * distil,
        "near": weight["near"] * (1 - (seen * taught).sum(1)).mean(),
        "colour": weight["colour"] * _colour_loss(bank, tiny, labels, lessons.tiny_colours[rows], rng),
        "caption": weight["caption"] * _caption_loss(bank, photographs, taught[len(rows) :], shown, rng),
    }


def see(
    learner: Learner,
    pictures: Tensor,
    mirrored: NDArray[np.int64],
    numbers: Mapping[str, Any],
    rng: np.random.Generator,
) -> Tensor:
    """Unit vectors of varied views of uint8 pictures at the phase's enlargement."""
    views = vary(pictures, mirrored, numbers, rng).contiguous(memory_format=torch.channels_last)
    tower, side = learner.clip.model.visual, numbers["side"]
    with autocast(learner.device):
        place = None if side == learner.clip.image_size else _placed(tower, side)
        found = tower(views) if place is None else torch.func.functional_call(tower, place, (views,))
    return functional.normalize(found.float(), dim=-1)


def _label_losses(
    bank: Bank, seen: Tensor, taught: Tensor, labels: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cross entropy over one prompt a label, and the distance to the teacher's opinion of the same prompts."""
    which = torch.from_numpy(rng.integers(0, bank.named.shape[1], LABELS))
    every = torch.arange(LABELS)
    texts, truth = bank.named[every, which], bank.truth[bank.sayings[every, which]]
    logits, opinion = bank.scale * seen @ texts.T, bank.scale * taught @ texts.T
    distil = functional.kl_div(logits.log_softmax(1), opinion.log_softmax(1), reduction="batchmean", log_target=True)
    return label_loss(logits, labels, truth), distil


def _colour_loss(
    bank: Bank, seen: Tensor, labels: Tensor, colours: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """Which of the colours, said of the picture's own label."""
    tinted, target = colour_choice(colours, labels.device)
    texts = bank.coloured[labels[tinted], :, int(rng.integers(bank.coloured.shape[2]))]
    return functional.cross_entropy(bank.scale * torch.einsum("nd,ncd->nc", seen[tinted], texts), target)


def _caption_loss(
    bank: Bank, seen: Tensor, taught: Tensor, shown: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """The picture among all captions, and the caption among all pictures (the others as the teacher sees them)."""
    count = bank.captions.shape[0]
    captions = bank.captions[
        torch.arange(count), torch.from_numpy(rng.integers(0, bank.captions.shape[1], count))
    ].float()
    own = torch.from_numpy(shown).to(seen.device)
    towards = bank.scale * seen @ captions.T
    opinion = bank.scale * taught @ captions.T
    back = bank.scale * captions[own] @ bank.flickr[0].to(seen.device).float().T
    back = back.scatter(1, own[:, None], bank.scale * (captions[own] * seen).sum(1, keepdim=True))
    distil = functional.kl_div(towards.log_softmax(1), opinion.log_softmax(1), reduction="batchmean", log_target=True)
    return (functional.cross_entropy(towards, own) + functional.cross_entropy(back, own) + distil) / 3


def _placed(tower: nn.Module, side: int) -> dict[str, Tensor]:
    """An attention pool's places, resampled to another enlargement; nothing for towers that pool by the mean."""
    pool = getattr(tower, "attnpool", None)
    if pool is None:
        return {}
    places = pool.positional_embedding
    old = int((len(places) - 1) ** 0.5)
    square = places[1:].T.reshape(1, -1, old, old)
    resampled = functional.interpolate(square, size=(side // 32, side // 32), mode="bilinear").flatten(2)[0].T
    return {"attnpool.positional_embedding": torch.cat([places[:1], resampled])}


def _moment(phases: Sequence[Mapping[str, Any]], step: int) -> tuple[Mapping[str, Any], float]:
    """The phase and the learning rate of this step."""
    for phase in phases:
        if step < phase["steps"]:
            first, last = phase["lr"]
            return phase, first + (last - first) * step / phase["steps"]
        step -= phase["steps"]
    raise ValueError("the phases are over.")


def _groups(tower: nn.Module, decay: float) -> list[dict[str, Any]]:
    flat = [value for value in tower.parameters() if value.ndim < 2]
    return [
        {"params": [value for value in tower.parameters() if value.ndim > 1], "weight_decay": decay},
        {"params": flat, "weight_decay": 0.0},
    ]


@torch.no_grad()
def _follow(average: dict[str, Tensor], state: Mapping[str, Tensor], keep: float) -> None:
    smooth = [name for name, value in state.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in smooth], [state[name] for name in smooth], 1 - keep)
    for name in state.keys() - set(smooth):
        average[name].copy_(state[name])
