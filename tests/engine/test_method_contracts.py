"""The contract of methods, for every method there is, on the tiny pack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from engine.methods import METHODS, Found, Past
from engine.runner import ModelRunner
from storage.job import Caller, Job, Method, Params, Parity, State
from tests.contracts.methods import Case, MethodContract, Stage, end

PUBLISHED = (Parity.CSC2516, Parity.CLIP_GEN)  # fusedream's own has the tests of test_fusedream, at fifty views a step
FROM = "fusedream from a picture"
PICTURE = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)


def job(number: int, **params: Any) -> Job:
    """A small running job of the tiny pack."""
    asked = {"prompt": "a lemon", "seed": 7, "pack": "tiny", "candidates": 6, "steps": 3, "keep": 2} | params
    caller = Caller(user="ada", name="ada")
    return Job(id=f"job{number:03}", caller=caller, params=Params(**asked), state=State.RUNNING, created_at=0.0)


@pytest.fixture(scope="module")
def stage(runner: ModelRunner) -> Stage:
    """The tiny pack on the CPU."""
    return Stage(runner)


@pytest.fixture(scope="module")
def cases(stage: Stage) -> Mapping[str, Case]:
    """One small job of every method, and of the methods as published."""
    parent = Case(job(0))
    earlier = Past(parent.job, end(stage.alone(parent)).candidates)
    made = {
        Method.SEARCH: Case(job(1)),
        Method.FUSEDREAM: Case(job(2, method=Method.FUSEDREAM)),
        Method.COMPOSE: Case(job(3, method=Method.COMPOSE, prompt="a lemon | a barn")),
        Method.CLIPGEN: Case(job(4, method=Method.CLIPGEN)),
        Method.RERANK: Case(job(5, method=Method.RERANK, prompt="a barn"), earlier),
        Parity.CSC2516: Case(job(6, parity=Parity.CSC2516)),
        FROM: Case(job(8, method=Method.FUSEDREAM, start="0" * 64), Past(start=PICTURE)),
        Parity.CLIP_GEN: Case(job(7, method=Method.CLIPGEN, parity=Parity.CLIP_GEN)),
    }
    return {str(name): case for name, case in made.items()}


@pytest.fixture(scope="module")
def crowd(stage: Stage, cases: Mapping[str, Case]) -> Mapping[str, Found]:
    """How they all end when they run together."""
    return {name: end(told) for name, told in stage.play(*cases.values()).items()}


class TestMethods(MethodContract):
    """Every method keeps the contract."""

    @pytest.fixture(params=[str(name) for name in (*METHODS, *PUBLISHED, FROM)])
    def case(self, cases: Mapping[str, Case], request: pytest.FixtureRequest) -> Case:
        """The method under test."""
        return cases[request.param]
