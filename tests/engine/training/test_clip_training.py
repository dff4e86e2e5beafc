"""Promises of the CLIPs' training: a killed run goes on, losses forgive true answers, colours have their names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.training import train_clip, train_text
from engine.training.bank import Bank
from engine.training.colours import COLOURS, NONE, middle_colours
from engine.training.data import Captioned, Labelled
from engine.training.measures import border, recalls, top_shares
from engine.training.prompting import Prompter
from engine.training.runs import Options, Plan, load_plan
from engine.training.teacher import LABELS, Lessons, flickr_split
from engine.training.text import PACK, create_clip
from engine.training.vocabulary import Saying, Vocabulary

CPU = torch.device("cpu")
IMAGE = {"batch": 4, "captions": 2, "decay": 0.05, "clip": 2.0, "average": 0.9, "least_area": 0.5, "gain": 0.2}
WEIGHTS = {"label": 1.0, "distil": 1.0, "near": 1.0, "colour": 0.3, "caption": 0.5}
TEXT = {"batch": 4, "captions": 2, "colours": 2, "colour": 0.3, "caption": 0.7, "lr": 1e-3, "warmup": 1, "decay": 0.1}


def test_an_image_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """Two steps, a new process and one more end where three steps end."""
    straight = _image_run(tmp_path / "straight", (3,))
    parted = _image_run(tmp_path / "parted", (2, 3))
    assert all(torch.equal(straight[name], parted[name]) for name in straight)


def test_a_text_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """One step, a new process and one more end where two steps end."""
    straight = _text_run(tmp_path / "straight", (1e9,))
    parted = _text_run(tmp_path / "parted", (1e-9, 1e9))
    assert all(torch.equal(straight[name], parted[name]) for name in straight)


def test_a_frozen_text_tower_stays_while_its_head_learns(tmp_path: Path) -> None:
    """A run that begins with the shipped tower changes the head alone."""
    learner, plan = _text_learner(), Plan(1, 2.0, {**TEXT, "head_steps": 1, "most_scale": 4.0}, {})
    learner.clip.model.requires_grad_(False)
    before = {name: value.clone() for name, value in learner.clip.model.state_dict().items()}
    line = learner.head.line.weight.clone()
    train_text.train(learner, plan, replace(_options(tmp_path), shipped=True))
    after = learner.clip.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(line, learner.head.line.weight)


def test_a_second_run_has_phases_of_its_own(tmp_path: Path) -> None:
    """With `shipped`, a run takes as many steps as `again` says."""
    plan = Plan(1, 2.0, {}, {**IMAGE, "weights": WEIGHTS, "phases": _phases(3), "again": _phases(1)})
    train_clip.train(_image_learner(), plan, replace(_options(tmp_path), shipped=True))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1


def test_a_prompt_that_is_also_true_is_no_wrong_answer() -> None:
    """Of "a dog" offered for another breed, a picture of a dog is not pushed away."""
    truth = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    logits = torch.tensor([[1.0, 9.0, 0.0]])
    forgiven = train_text.label_loss(logits, torch.tensor([0]), truth)
    assert forgiven.item() == pytest.approx(
        functional.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item()
    )


def test_a_twin_in_label_and_colour_is_no_wrong_answer() -> None:
    """Two red lemons in a batch do not compete."""
    labels, colours = torch.tensor([5, 5, 5, 5]), torch.tensor([3, 3, 4, 4])
    loss = train_text.colour_loss(torch.tensor([[1.0, 9.0, 0.0, 0.0], [9.0, 1.0, 0.0, 0.0]]), labels, colours)
    assert loss.item() == pytest.approx(
        functional.cross_entropy(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0])).item()
    )


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((200, 20, 20), "red"),
        ((240, 140, 20), "orange"),
        ((230, 220, 40), "yellow"),
        ((40, 160, 50), "green"),
        ((30, 60, 200), "blue"),
        ((110, 60, 25), "brown"),
        ((250, 250, 250), "white"),
        ((10, 10, 12), "black"),
        ((128, 128, 128), "gray"),
    ],
)
def test_plain_colours_have_their_names(rgb: tuple[int, int, int], colour: str) -> None:
    """A picture of one colour is called by it."""
    picture = np.broadcast_to(np.array(rgb, np.uint8), (1, 64, 64, 3))
    assert COLOURS[middle_colours(picture)[0]] == colour


def test_a_motley_picture_has_no_colour() -> None:
    """Where nothing leads, nothing is claimed."""
    rng = np.random.default_rng(0)
    assert middle_colours(rng.integers(0, 256, (1, 64, 64, 3), np.uint8), least=0.5)[0] == NONE


def test_measures_on_known_vectors() -> None:
    """Perfect vectors are found; the border parts two clean sides."""
    vectors = torch.eye(6)
    assert top_shares(vectors, torch.arange(6), vectors, range(6)) == (1.0, 1.0)
    assert recalls(vectors, vectors.flip(0), torch.arange(6).flip(0)) == (1.0, 1.0, 1.0)
    threshold, refused, let_in = border(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2]))
    assert (refused, let_in) == (0.0, 0.0)
    assert 0.2 < threshold < 0.81


def test_a_thousand_photographs_are_held_out() -> None:
    """None of them is learned from."""
    learned, held = flickr_split(8091)
    assert len(held) == 1000
    assert not set(learned) & set(held)


@pytest.mark.parametrize("name", ["scorer", "judge"])
def test_shipped_plans_are_whole(name: str) -> None:
    """Every number that the runs ask for is in the TOML."""
    plan = load_plan(name)
    assert TEXT.keys() | {"steps", "head_steps"} <= plan.text.keys()
    assert IMAGE.keys() <= plan.image.keys()
    assert WEIGHTS.keys() == plan.image["weights"].keys()
    assert plan.image["phases"]
    assert plan.image["again"]


def _image_run(out: Path, until: tuple[int, ...]) -> Mapping[str, Tensor]:
    for steps in until:
        learner = _image_learner()
        plan = Plan(1, 2.0, {}, {**IMAGE, "weights": WEIGHTS, "phases": _phases(steps)})
        train_clip.train(learner, plan, _options(out))
    return learner.average


def _phases(steps: int) -> list[dict[str, Any]]:
    return [{"steps": steps, "side": 64, "lr": [1e-3, 1e-3]}]


def _image_learner() -> train_clip.Learner:
    torch.manual_seed(1)
    clip = create_clip(PACK / "judge.json")
    average = {name: value.clone() for name, value in clip.model.visual.state_dict().items()}
    return train_clip.Learner(clip, average, _lessons(), _bank(), np.linspace(0.125, 1.0, 8), CPU)


def _text_run(out: Path, minutes: tuple[float, ...]) -> Mapping[str, Tensor]:
    numbers = {**TEXT, "steps": 2, "most_scale": 4.0}
    for limit in minutes:
        learner = _text_learner()
        train_text.train(learner, Plan(1, 2.0, numbers, {}), _options(out, limit))
    state = learner.clip.model.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("visual.")}


def _text_learner() -> train_text.Learner:
    sayings = tuple(Saying(f"thing {label}", frozenset({label})) for label in range(LABELS))
    vocabulary = Vocabulary(sayings, ("a {}",), ("{}",), ("a [] {}",))
    torch.manual_seed(1)
    clip = create_clip(PACK / "scorer.json")
    head = train_text.Head(256, 8, 0.0)
    prompter = Prompter(vocabulary, clip.tokenizer, 0.1)
    return train_text.Learner(clip, head, _lessons(), prompter, np.linspace(0.125, 1.0, 8), CPU)


def _options(out: Path, minutes: float = 1e9) -> Options:
    return Options(out, out, out, CPU, minutes, resume=True)


def _lessons() -> Lessons:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (8, 64, 64, 3), np.uint8)
    features = rng.random((2, 8, 1280)).astype(np.float16)
    captions = tuple((f"a dog number {number} runs",) for number in range(8))
    return Lessons(
        names=tuple(f"thing {label}" for label in range(LABELS)),
        tiny=Labelled(pictures, np.arange(8)),
        tiny_features=features,
        tiny_colours=np.array([0, 1, 2, NONE, 4, 5, 6, 7]),
        flickr=Captioned(pictures, captions, ("",) * 8),
        flickr_features=features,
        flickr_train=np.arange(8),
    )


def _bank() -> Bank:
    torch.manual_seed(0)

    def unit(*shape: int) -> Tensor:
        return functional.normalize(torch.randn(*shape, 256), dim=-1)

    shapes: dict[str, Any] = {
        "named": unit(LABELS, 2),
        "coloured": unit(LABELS, len(COLOURS), 1),
        "captions": unit(8, 5),
    }
    sayings = torch.arange(LABELS)[:, None].expand(LABELS, 2)
    return Bank(
        **shapes,
        sayings=sayings,
        truth=torch.eye(LABELS) > 0,
        tiny=unit(2, 8),
        flickr=unit(2, 8),
        scale=torch.tensor(20.0),
    )
