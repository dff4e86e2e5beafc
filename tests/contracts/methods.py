"""What every method promises, whatever paper it is from. A suite runs it with jobs of its own; see tests/engine.

A method gives the same result for the same seed, in any company; it can be left between any two steps; it says how far
it is and shows its best; its recipe is known before it runs; and it scores honestly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engine.batcher import Batcher, Happening
from engine.codec import pixels_sha256
from engine.launches import Launch
from engine.methods import METHODS, Found, Past
from engine.ops import Ask, Progress
from engine.runner import ModelRunner
from storage.errors import UserError
from storage.job import Job, Method, Params
from storage.recipe import canonical, digest


@dataclass(frozen=True)
class Case:
    """A small job of a method, and what it needs of the store."""

    job: Job
    past: Past | None = None

    def of_seed(self, seed: int) -> Case:
        """The same with another seed."""
        return replace(self, job=replace(self.job, params=replace(self.job.params, seed=seed)))


@dataclass(frozen=True)
class Stage:
    """A runner, and a batcher for some cases on it. What a case did alone is played once."""

    runner: ModelRunner
    played: dict[str, list[Happening]] = field(default_factory=dict)

    def alone(self, case: Case) -> list[Happening]:
        """What happened to it with nobody else there."""
        if case.job.id not in self.played:
            self.played[case.job.id] = self.play(case)[case.job.id]
        return self.played[case.job.id]

    def batcher(self, cases: Sequence[Case], run: Callable[[Launch], list[Any]] | None = None) -> Batcher:
        """All of them, newly seated."""

        def start(job: Job, past: Past | None) -> Ask[Found]:
            return METHODS[job.params.method].run(job, self.runner.space(job.params.pack), past)

        batcher = Batcher(run=run or self.runner.run, start=start, room=len(cases), step_s=0.0)
        for case in cases:
            batcher.add(case.job, case.past)
        return batcher

    def play(self, *cases: Case) -> dict[str, list[Happening]]:
        """All of them together to their ends: what happened to each, in order."""
        batcher = self.batcher(cases)
        told: dict[str, list[Happening]] = {case.job.id: [] for case in cases}
        while batcher.has_work:
            for happening in batcher.step():
                told[happening.job.id].append(happening)
        return told


def end(told: Sequence[Happening]) -> Found:
    """The result of a job that must have ended well."""
    assert isinstance(told[-1].what, Found), told[-1].what
    return told[-1].what


def signature(found: Found) -> list[Any]:
    """All that must be equal, to the bit."""
    pictures = [
        p.stored.pixels_sha256 if p.stored else pixels_sha256(p.pixels) if p.pixels is not None else None
        for p in found.pictures
    ]
    return [pictures, [(c.number, c.label, c.clip_score, c.judge_score, c.embedding) for c in found.candidates]]


class MethodContract:
    """Subclass it with the fixtures `case`, `stage` and `crowd` (how all cases ended together, by job)."""

    def test_the_same_seed_is_the_same_result_in_any_company(
        self, case: Case, stage: Stage, crowd: Mapping[str, Found]
    ) -> None:
        """Alone, and among jobs of every other method: equal pixels, scores and embeddings."""
        assert signature(crowd[case.job.id]) == signature(end(stage.alone(case)))

    def test_another_seed_is_another_result(self, case: Case, stage: Stage) -> None:
        """Unless nothing is drawn: a rerank orders what there is."""
        if case.job.params.method is not Method.RERANK:
            other = end(stage.play(case.of_seed(8))[case.job.id])
            assert signature(other)[0] != signature(end(stage.alone(case)))[0]

    def test_it_can_be_left_between_any_two_steps(self, case: Case, stage: Stage) -> None:
        """After any number of launches the job is dropped, and asks for nothing more."""
        asked: list[Launch] = []

        def run(launch: Launch) -> list[Any]:
            asked.append(launch)
            return stage.runner.run(launch)

        for launches in (1, 4):
            batcher, before = stage.batcher([case], run), len(asked)
            while batcher.has_work and len(asked) - before < launches:
                batcher.step()
            batcher.drop(case.job.id)
            left = len(asked)
            assert batcher.step() == []
            assert len(asked) == left
            assert not batcher.has_work

    def test_it_says_how_far_it_is(self, case: Case, stage: Stage) -> None:
        """Progress rises to its total and never falls; what draws shows the best so far."""
        told = [h.what for h in stage.alone(case) if isinstance(h.what, Progress)]
        assert told
        assert [p.done for p in told] == sorted(p.done for p in told)
        assert len({p.total for p in told}) == 1
        assert told[-1].done <= told[-1].total
        if case.job.params.method is not Method.RERANK:
            shown = [p for p in told if p.preview is not None]
            assert shown
            assert all(p.best is not None for p in shown)

    def test_its_recipe_is_known_before_it_runs(self, case: Case, stage: Stage) -> None:
        """JSON as the store gives it back, without the job's id; of another job of the same params the same."""
        way, space = METHODS[case.job.params.method], stage.runner.space(case.job.params.pack)
        recipe = way.recipe(case.job, space, case.past)
        assert json.loads(canonical(recipe)) == recipe
        assert case.job.id not in canonical(recipe)
        other = replace(case.job, id="zzzzzz", created_at=9.0)
        assert digest(way.recipe(other, space, case.past)) == digest(recipe)
        assert recipe["method"] == case.job.params.method
        assert recipe["parts"] == [[part.text, part.weight] for part in case.job.params.parts]

    def test_its_scores_are_honest(self, case: Case, stage: Stage) -> None:
        """Every picture that is made has plain CLIP, AugCLIP and the judge's score; a rerank, what it ranked by."""
        needed = 1 if case.job.params.method is Method.RERANK else 3
        for picture in end(stage.alone(case)).pictures:
            scores = (picture.clip_score, picture.augclip_score, picture.judge_score)
            measured = [score for score in scores if score is not None]
            assert len(measured) >= needed
            assert all(-1 <= score <= 1 for score in measured)

    @pytest.mark.parametrize(
        "wrong",
        [{"seed": -1}, {"candidates": 0}, {"steps": 2_001}, {"keep": 17}, {"top_k": 0}, {"prompt": ""}],
    )
    def test_wrong_params_are_refused_in_one_sentence(self, case: Case, wrong: dict[str, Any]) -> None:
        """Before there is a job; the sentence names what is allowed."""
        with pytest.raises(UserError) as refusal:
            Params(**(case.job.params.to_json() | wrong))
        said = str(refusal.value)
        assert "\n" not in said
        assert any(character.isdigit() for character in said)
