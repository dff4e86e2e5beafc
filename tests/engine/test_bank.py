"""The latent bank: the file, whose draws are whose, and that what comes from it is what would have been computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bank import BLOCK, Bank
from engine.batcher import Batcher, Happening
from engine.codec import pixels_sha256
from engine.growing import Growth
from engine.latents import LatentSpace
from engine.methods import METHODS, Found
from engine.ops import Progress, Render
from engine.packs import Pack
from engine.rng import rng_for
from engine.runner import ModelRunner, choose_device
from engine.service import Service
from engine.settings import EngineSettings
from storage.job import Candidate, Job, Method, Parity

WIDTH = 8
MakeJob = Callable[..., Job]


def rows(block: int) -> np.ndarray[Any, np.dtype[np.float16]]:
    """A block of unit vectors, by number."""
    drawn = rng_for(block, "test", 0).normals(BLOCK * WIDTH).reshape(BLOCK, WIDTH)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def bank_of(folder: Path, blocks: int) -> Bank:
    """A bank with that many blocks."""
    bank = Bank(folder / "some.bank", WIDTH)
    for block in range(blocks):
        assert bank.append(block * BLOCK, rows(block))
    return bank


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    """Any entries, in any order, to the bit."""
    bank_of(tmp_path, 3)
    again = Bank(tmp_path / "some.bank", WIDTH)
    assert again.built == 3 * BLOCK
    wanted = np.array([700, 0, 255, 256])
    assert (again.rows(wanted) == np.concatenate([rows(b) for b in range(3)])[wanted]).all()


@pytest.mark.parametrize("left", [0, 1, 100, 2 * (BLOCK + 1) * WIDTH - 1])
def test_a_torn_tail_is_dropped(tmp_path: Path, left: int) -> None:
    """A kill in the middle of a write loses that block alone, and the next one is written in its place."""
    bank = bank_of(tmp_path, 3)
    with bank.path.open("r+b") as file:
        file.truncate(2 * 2 * (BLOCK + 1) * WIDTH + left)
    torn = Bank(bank.path, WIDTH)
    assert torn.built == 2 * BLOCK
    assert torn.append(2 * BLOCK, rows(2))
    assert (Bank(bank.path, WIDTH).rows(np.array([3 * BLOCK - 1])) == rows(2)[-1]).all()


def test_a_block_whose_bytes_never_arrived_is_dropped(tmp_path: Path) -> None:
    """The file may have its length and not its content after a power cut."""
    bank = bank_of(tmp_path, 2)
    with bank.path.open("r+b") as file:
        file.seek(-3 * WIDTH, 2)
        file.write(b"\0" * WIDTH)
    assert Bank(bank.path, WIDTH).built == BLOCK


def test_two_who_grow_one_bank_write_each_block_once(tmp_path: Path) -> None:
    """Whoever comes second is told, and sees what the first wrote."""
    first, second = bank_of(tmp_path, 1), Bank(tmp_path / "some.bank", WIDTH)
    assert first.append(BLOCK, rows(1))
    assert not second.append(BLOCK, rows(1))
    assert second.built == 2 * BLOCK
    assert second.path.stat().st_size == 2 * 2 * (BLOCK + 1) * WIDTH


def test_the_best_of_all_are_exact(tmp_path: Path) -> None:
    """The product in fp16 only finds who may be among them: the order is that of float64."""
    bank = bank_of(tmp_path, 8)
    text = rng_for(9, "text", 0).normals(WIDTH)
    text /= np.linalg.norm(text)
    every = bank.rows(np.arange(bank.built)).astype(np.float64) @ text.astype(np.float32).astype(np.float64)
    assert bank.best(text.astype(np.float32), 50).tolist() == np.argsort(-every, kind="stable")[:50].tolist()
    assert set(bank.best(text.astype(np.float32), 5, size=BLOCK).tolist()) <= set(range(BLOCK))


@pytest.fixture
def kept(tiny_packs: dict[str, Pack], tmp_path: Path) -> ModelRunner:
    """A runner whose packs have a bank in a folder of this test's own."""
    runner = ModelRunner(tiny_packs, choose_device(EngineSettings(device="cpu", threads=1)), tmp_path)
    runner.space("tiny")
    return runner


def grow(runner: ModelRunner, size: int) -> LatentSpace:
    """The tiny pack's space, its bank grown."""
    growth = Growth(lambda: ["tiny"], runner.space, runner.run, size)
    while growth.step():
        pass
    return runner.space("tiny")


def dream(runner: ModelRunner, space: LatentSpace, job: Job) -> list[Happening]:
    """All that happened to a job."""
    batcher = Batcher(
        run=runner.run,
        start=lambda job, past: METHODS[job.params.method].run(job, space, past),
        room=1,
        step_s=60.0,
    )
    batcher.add(job)
    happened: list[Happening] = []
    while batcher.has_work:
        happened += batcher.step()
    return happened


def found(happened: list[Happening]) -> Found:
    """The end, which must be a good one."""
    end = happened[-1].what
    assert isinstance(end, Found), end
    return end


@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 5_000))
def test_no_draw_comes_twice_and_none_has_another_label(seed: int, label: int, size: int) -> None:
    """However many candidates a label gets, they are different draws of that label."""
    space = LatentSpace(
        pack="p",
        digests={"pack_digest": "ab" * 32},
        labels=("a", "b", "c", "d", "e"),
        dim_z=2,
        class_embeddings=np.zeros((10, 1), np.float32),
        words=(),
        word_embeddings=np.zeros((0, 1), np.float32),
        word_labels=np.zeros(0, np.int64),
        variants=2,
        bank_size=max(1, size),
    )
    entries = space.entries(seed, [label], range(300))
    assert len(set(entries.tolist())) == 300
    assert {space.label_of(space.class_of(int(e))) for e in entries} == {space.labels[label]}
    assert (space.entries(seed, [label], range(200)) == entries[:200]).all()
    in_bank = size // 10 * 2 // 2
    assert (entries[: min(300, in_bank)] < max(1, size)).all()


def test_a_candidate_of_the_bank_is_redrawn_from_its_number_and_label(kept: ModelRunner) -> None:
    """As for the plain draws: nothing else is stored."""
    space = kept.space("tiny").at(1_024)
    drawn = space.draw(7, [1, 3], range(40))
    again = [
        space.redraw(7, Candidate(number=n, label=space.label_of(int(c)), clip_score=0.0))
        for n, c in enumerate(drawn.classes)
    ]
    assert (np.concatenate([one.z for one in again]) == drawn.z).all()
    assert [int(one.classes[0]) for one in again] == drawn.classes.tolist()


@pytest.mark.parametrize("method", [Method.SEARCH, Method.FUSEDREAM])
def test_the_bank_s_result_is_the_live_search_s(kept: ModelRunner, make_job: MakeJob, method: Method) -> None:
    """On the same draws: no bank yet, a part of it, all of it; pixels, scores, embeddings and order are equal."""
    job = make_job(method=method, candidates=60, steps=6)
    results = [found(dream(kept, grow(kept, size).at(1_024), job)) for size in (0, 256, 1_024)]
    first = results[0]
    assert first.pictures[0].pixels is not None
    for other in results[1:]:
        assert other.candidates == first.candidates
        assert other.pictures[0].pixels is not None
        assert pixels_sha256(other.pictures[0].pixels) == pixels_sha256(first.pictures[0].pixels)


def test_a_full_bank_costs_no_encoding_of_candidates(kept: ModelRunner, make_job: MakeJob) -> None:
    """The search is answered before anything is drawn; only what is kept is drawn and measured."""
    end = dream(kept, grow(kept, 1_024).at(1_024), make_job(candidates=100))[-1]
    assert set(end.rungs) == {"EncodeText/16", "Render/1", "EncodeViews/32", "EncodeImages/4"}


def test_the_first_progress_shows_the_bank_s_best(kept: ModelRunner, make_job: MakeJob) -> None:
    """One text encoding, one picture: then somebody sees something, although much is still to be computed."""
    space = grow(kept, 256).at(1_024)
    asked: list[object] = []

    def run(launch: Any) -> list[Any]:
        asked.append(type(launch.ops[0]))
        return kept.run(launch)

    batcher = Batcher(
        run=run, start=lambda job, past: METHODS[job.params.method].run(job, space, past), room=1, step_s=60.0
    )
    batcher.add(make_job(candidates=200))
    while not (happened := batcher.step()):
        pass
    progress = happened[0].what
    assert isinstance(progress, Progress)
    assert progress.preview is not None
    assert 0 < progress.done < 200
    assert len(asked) == 2
    assert asked[-1] is Render


def test_a_bank_that_grows_changes_nothing_for_its_size(kept: ModelRunner, make_job: MakeJob) -> None:
    """The size in the recipe decides, not what is there when it runs again."""
    job = make_job(candidates=40)
    before = found(dream(kept, grow(kept, 256).at(512), job))
    after = found(dream(kept, grow(kept, 1_280).at(512), job))
    assert before.candidates == after.candidates
    other = found(dream(kept, kept.space("tiny").at(1_024), job))
    assert other.candidates != before.candidates


def test_without_a_bank_the_search_is_the_published_one(kept: ModelRunner, make_job: MakeJob) -> None:
    """Size 0 draws every seed's own candidates and looks at no bank."""
    job = make_job(candidates=20)
    space = grow(kept, 256)
    plain = found(dream(kept, space.at(0), job))
    assert plain.candidates == found(dream(kept, replace(space, bank=None), job)).candidates
    assert plain.candidates != found(dream(kept, space.at(256), job)).candidates


class Known:
    """A queue that knows one earlier job."""

    def __init__(self, earlier: Job) -> None:
        self.earlier = earlier

    async def get(self, job_id: str) -> Job | None:
        """The earlier job, by its id."""
        return self.earlier if job_id == self.earlier.id else None


@pytest.mark.parametrize(
    ("follows", "params", "size"),
    [
        ({}, {}, 8_192),
        ({}, {"bank": False}, 0),
        ({}, {"parity": Parity.CSC2516}, 0),
        ({"again_of": "first"}, {}, 512),
        ({"again_of": "first"}, {"bank": False}, 512),
    ],
)
async def test_who_repeats_a_job_counts_on_the_bank_that_it_had(
    kept: ModelRunner, make_job: MakeJob, follows: dict[str, str], params: dict[str, Any], size: int
) -> None:
    """A new job takes what is there when it starts; as published means no bank; `again` takes the recipe's size."""
    earlier = replace(make_job("first"), recipe={"bank": 512})
    service = Service(
        queue=cast(Any, Known(earlier)),
        feed=cast(Any, None),
        images=cast(Any, None),
        space=kept.space,
        run=kept.run,
        trace={},
        owner="engine",
        room=1,
        settings=EngineSettings(device="cpu", threads=1),
    )
    job = replace(make_job("second", **params), **follows)
    await service._follow(job)
    service._start(job, None).close()
    assert service._recipes["second"]["bank"] == size
