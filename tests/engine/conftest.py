"""What the engine's tests share: the tiny pack on the CPU, and jobs that dream of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.batcher import Batcher, Happening
from engine.methods import METHODS, Past
from engine.packs import Pack, find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Params, State
from tests.engine.tiny import make_tiny_pack


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny pack's TOML and weights."""
    return make_tiny_pack(tmp_path_factory.mktemp("packs")).parent


@pytest.fixture(scope="session")
def tiny_packs(tiny_folder: Path) -> dict[str, Pack]:
    """The packs an engine would find with DREAMBOT_PACKS set to that folder."""
    return find_packs(tiny_folder)


@pytest.fixture(scope="session")
def runner(tiny_packs: dict[str, Pack]) -> ModelRunner:
    """A real runner on the CPU with the tiny pack loaded."""
    settings = EngineSettings(device="cpu", threads=1)
    runner = ModelRunner(tiny_packs, choose_device(settings))
    runner.space("tiny")
    return runner


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """A running job of the tiny pack; keyword arguments are its Params."""

    def make(job_id: str = "aaaaaa", **params: Any) -> Job:
        asked = {"prompt": "a lemon", "seed": 7, "pack": "tiny", "candidates": 20} | params
        caller = Caller(user="ada", name="ada")
        return Job(id=job_id, caller=caller, params=Params(**asked), state=State.RUNNING, created_at=0.0)

    return make


@pytest.fixture
def finish(runner: ModelRunner) -> Callable[..., dict[str, Happening]]:
    """Run jobs together in one batcher to their ends: the last happening of each, by id."""

    def run(*jobs: Job, past: Past | None = None) -> dict[str, Happening]:
        def start(job: Job, past: Past | None) -> Any:
            return METHODS[job.params.method].run(job, runner.space(job.params.pack), past)

        batcher = Batcher(run=runner.run, start=start, room=8, step_s=0.05)
        for job in jobs:
            batcher.add(job, past)
        last: dict[str, Happening] = {}
        while batcher.has_work:
            last |= {happening.job.id: happening for happening in batcher.step()}
        return last

    return run
