"""CLIP-GEN on the tiny pack: real networks, random weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from engine.batcher import Batcher, Happening
from engine.codec import pixels_sha256
from engine.errors import BadWeights
from engine.generators import gpt, vqgan
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import METHODS, Found, Past, clipgen
from engine.ops import EncodeImages, Preprocess, Progress
from engine.packs import Pack, find_packs, read_pack
from engine.pair import Pair
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.errors import UserError
from storage.job import By, Caller, Image, Job, Method, Params, State
from tests.engine.tiny import make_tiny_pack

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]


@pytest.fixture
def ask(make_job: MakeJob) -> MakeJob:
    """A clipgen job of the tiny pack."""

    def make(job_id: str = "aaaaaa", **params: object) -> Job:
        return make_job(job_id, **({"method": Method.CLIPGEN} | params))

    return make


def found(happening: Happening) -> Found:
    """The end of a job that must have ended well."""
    assert isinstance(happening.what, Found), happening.what
    return happening.what


def pixels(result: Found) -> dict[int, str]:
    """Pixel digests by candidate."""
    return {p.candidate: pixels_sha256(p.pixels) for p in result.pictures if p.pixels is not None}


def test_the_best_by_clip_come_first_and_carry_every_score(finish: Finish, ask: MakeJob) -> None:
    """Kept pictures are the highest scores of all candidates, and are measured by judge and views too."""
    result = found(finish(ask(keep=3))["aaaaaa"])
    scores = sorted((c.clip_score for c in result.candidates if c.clip_score is not None), reverse=True)
    assert [picture.clip_score for picture in result.pictures] == scores[:3]
    assert [c.number for c in result.candidates] == list(range(20))
    assert all(p.judge_score is not None and p.augclip_score is not None for p in result.pictures)
    assert len(set(pixels(result).values())) == 3


def test_again_gives_the_same_bits_in_any_company(finish: Finish, ask: MakeJob, make_job: MakeJob) -> None:
    """A job's pictures and scores do not depend on who else is in the batch; another seed draws others."""
    alone = found(finish(ask("mine", candidates=40, keep=2))["mine"])
    others = [ask("first", seed=1, prompt="two barns"), make_job("second", seed=2), ask("third", candidates=3)]
    together = found(finish(*others, ask("mine", candidates=40, keep=2))["mine"])
    assert pixels(together) == pixels(alone)
    assert [c.embedding for c in together.candidates] == [c.embedding for c in alone.candidates]
    other = found(finish(ask("mine", seed=8, candidates=40, keep=2))["mine"])
    assert [c.embedding for c in other.candidates] != [c.embedding for c in alone.candidates]


def test_a_candidate_is_its_number(finish: Finish, ask: MakeJob) -> None:
    """Candidate 17 among 18 is to the bit candidate 17 among 50."""
    few = found(finish(ask(candidates=18, keep=16))["aaaaaa"])
    many = found(finish(ask(candidates=50, keep=16))["aaaaaa"])
    assert [c.embedding for c in few.candidates] == [c.embedding for c in many.candidates[:18]]
    both = pixels(few).keys() & pixels(many).keys()
    assert both
    assert all(pixels(few)[number] == pixels(many)[number] for number in both)


def test_the_prompt_decides(finish: Finish, ask: MakeJob) -> None:
    """Other words, with the same chance, are other pictures."""
    lemon, barn = (found(finish(ask(prompt=words, candidates=4))["aaaaaa"]) for words in ("a lemon", "the barn"))
    assert pixels(lemon) != pixels(barn)


def test_progress_shows_the_best_so_far(runner: ModelRunner, ask: MakeJob) -> None:
    """Every sixteen candidates; the preview is the picture of the candidate that is named."""
    job = ask(candidates=40)
    told = [happened.what for happened in _steps(runner, job) if isinstance(happened.what, Progress)]
    assert [(p.done, p.total) for p in told] == [(16, 40), (32, 40), (40, 40)]
    assert all(p.preview is not None and p.best is not None for p in told)
    last = told[-1]
    assert last.best is not None and last.preview is not None  # noqa: PT018
    assert pixels_sha256(last.preview) == pixels(found(_steps(runner, job)[-1]))[last.best.number]


def test_a_job_can_leave_between_the_tokens_of_a_picture(
    runner: ModelRunner, ask: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch draws some tokens, not all; a job that is dropped then asks for nothing more."""
    monkeypatch.setattr(clipgen, "TOKENS", 5)
    asked: list[str] = []

    def run(launch: object) -> list[object]:
        asked.append(type(launch.ops[0]).__name__)  # type: ignore[attr-defined]
        return runner.run(launch)  # type: ignore[arg-type]

    batcher = _batcher(runner, run)
    batcher.add(ask())
    while "DrawTokens" not in asked:
        batcher.step()
    batcher.drop("aaaaaa")
    batcher.step()
    assert asked == ["EncodeText", "DrawTokens"]


def test_tokens_do_not_depend_on_how_many_are_drawn_a_launch(
    finish: Finish, ask: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is handed from launch to launch."""
    whole = pixels(found(finish(ask(candidates=3, keep=3))["aaaaaa"]))
    monkeypatch.setattr(clipgen, "TOKENS", 5)
    assert pixels(found(finish(ask(candidates=3, keep=3))["aaaaaa"])) == whole


def test_without_guidance_tokens_are_the_papers(tiny_packs: dict[str, Pack]) -> None:
    """At guidance 1 the pair draws what GPT.sample does from the same uniforms; at 2 it goes further from no prompt."""
    pack = tiny_packs["tiny"]
    plain = Pair(replace(pack, drawing=replace(pack.drawing, guidance=1.0)), torch.device("cpu"), torch.float32)
    text = np.full(32, 32**-0.5, np.float32)
    chance = np.stack([clipgen.chance_of(7, number, 16) for number in range(16)])
    drawn, _ = plain.draw(text, chance, None)
    condition = torch.from_numpy(text)[None].expand(16, -1)
    assert np.array_equal(drawn, plain.gpt.sample(condition, chance).numpy())
    guided, _ = Pair(pack, torch.device("cpu"), torch.float32).draw(text, chance, None)
    assert not np.array_equal(guided, drawn)
    first, none = plain.gpt.begin(condition)[1][:1], plain.gpt.begin(torch.zeros(1, 32))[1]
    wanted = gpt.draw(none + 2 * (first - none).expand(16, -1), torch.from_numpy(chance[:, 0]), plain.choice)
    assert np.array_equal(guided[:, 0], wanted.numpy())


def test_parity_repeats_the_demos_ranking(finish: Finish, ask: MakeJob) -> None:
    """Drawn without guidance, and kept by what CLIP sees unprepared; the scores shown are ours all the same."""
    ours, theirs = (found(finish(ask(candidates=16, keep=16, parity=p))["aaaaaa"]) for p in (None, "clip-gen"))
    assert [c.embedding for c in ours.candidates] != [c.embedding for c in theirs.candidates]
    for result, ordered in ((ours, True), (theirs, False)):
        scores = [p.clip_score for p in result.pictures if p.clip_score is not None]
        assert (scores == sorted(scores, reverse=True)) is ordered
    with pytest.raises(UserError, match="clip-gen belongs to the method clipgen"):
        ask(method=Method.SEARCH, parity="clip-gen")


def test_raw_pictures_are_neither_cut_nor_normalised(tiny_packs: dict[str, Pack]) -> None:
    """What the decoder paints past white reaches CLIP as it is; else it is cut, and normalised as CLIP was trained."""
    runner = ModelRunner(tiny_packs, choose_device(EngineSettings(device="cpu", threads=1, dtype="fp32")))
    runner.space("tiny")
    loaded = runner._loaded["tiny"]
    loaded.pair.vqgan.decoder.final[2].bias.add_(1.0)
    tokens = np.arange(64).reshape(4, 16) % 40
    painted = loaded.pair.vqgan.decode(torch.from_numpy(tokens), cut=False)
    assert painted.max() > 1
    for how, seen in ((Preprocess.CLIPGEN, painted), (Preprocess.OURS, painted.clamp(-1, 1) / 2 + 0.5)):
        raw = how is Preprocess.CLIPGEN
        small = torch.nn.functional.interpolate(seen, size=32, mode="bilinear", antialias=not raw)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
        wanted = loaded.scorer._model.encode_image(small if raw else (small - mean) / std, normalize=True)
        found_ = runner.run(Launch((EncodeImages("tiny", Latents.of_tokens(tokens), 4, preprocess=how),)))[0]
        assert np.allclose(found_, wanted.numpy(), atol=2e-3)


@pytest.fixture
def past(finish: Finish, runner: ModelRunner, ask: MakeJob) -> Past:
    """A completed clipgen job with two kept pictures."""
    job = ask("parent", keep=2)
    result = found(finish(job)["parent"])
    images = tuple(
        Image(sha256="0", pixels_sha256=sha, width=64, height=64, candidate=number)
        for number, sha in pixels(result).items()
    )
    recipe = METHODS[Method.CLIPGEN].recipe(job, runner.space("tiny"), None)
    return Past(replace(job, state=State.COMPLETED, images=images, recipe=recipe), result.candidates)


def test_rerank_draws_what_was_not_kept_by_its_number(finish: Finish, make_job: MakeJob, past: Past) -> None:
    """By the same words the order stays and the files are the kept ones; the others are drawn again alike."""
    known = pixels(found(finish(replace(past.parent, params=replace(past.parent.params, keep=16)))["parent"]))
    result = found(finish(make_job("re", method=Method.RERANK, keep=16), past=past)["re"])
    assert [p.candidate for p in result.pictures] == list(known)
    assert [p.stored for p in result.pictures[:2]] == list(past.parent.images)
    assert pixels(result) == dict(list(known.items())[2:])


def test_rerank_by_the_judge_measures_clipgens_candidates(finish: Finish, make_job: MakeJob, past: Past) -> None:
    """Every candidate is painted again and judged; the kept picture's judge score is the one it had."""
    result = found(finish(make_job("re", method=Method.RERANK, by=By.JUDGE), past=past)["re"])
    judged = {c.number: c.judge_score for c in result.candidates}
    assert len(judged) == 20
    kept = [c for c in past.candidates if c.judge_score is not None]
    assert [judged[c.number] for c in kept] == pytest.approx([c.judge_score for c in kept], abs=2e-3)


def test_the_recipe_names_the_pair(runner: ModelRunner, ask: MakeJob, make_job: MakeJob) -> None:
    """What decides the pictures is there; a search's recipe knows nothing of it."""
    space = runner.space("tiny")
    recipe = METHODS[Method.CLIPGEN].recipe(ask(), space, None)
    assert recipe["pair_digest"] == runner.packs["tiny"].pair_digest
    assert recipe["seed"] == 7
    assert "pair_digest" not in METHODS[Method.SEARCH].recipe(make_job(), space, None)


def test_a_pack_without_the_pair_says_so(runner: ModelRunner, ask: MakeJob, tiny_packs: dict[str, Pack]) -> None:
    """Neither published as a method nor begun."""
    assert Method.CLIPGEN in tiny_packs["tiny"].methods
    assert Method.CLIPGEN not in replace(tiny_packs["tiny"], vqgan=None, gpt=None).methods
    space = replace(runner.space("tiny"), tokens=None)
    with pytest.raises(UserError, match="clipgen needs a pack with a vqgan and a gpt"):
        METHODS[Method.CLIPGEN].recipe(ask(), space, None)


def test_a_pair_for_another_text_tower_is_not_used(
    tiny_packs: dict[str, Pack], caplog: pytest.LogCaptureFixture
) -> None:
    """The scorer may get another image tower; with other text embeddings the GPT would follow words it never saw."""
    pack = tiny_packs["tiny"]
    other = replace(pack, drawing=replace(pack.drawing, condition="0" * 64))
    assert Method.CLIPGEN not in other.methods
    runner = ModelRunner({"tiny": other}, choose_device(EngineSettings(device="cpu", threads=1)))
    with caplog.at_level(logging.WARNING):
        assert runner.space("tiny").tokens is None
    assert "trained on another text tower" in caplog.text


def test_a_pair_that_does_not_match_is_refused(tmp_path: Path) -> None:
    """A GPT of other codes than the VQGAN's is bad weights, named."""
    pack = read_pack(make_tiny_pack(tmp_path))
    assert pack.vqgan is not None
    network = vqgan.load(pack.vqgan.path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vqgan, "load", lambda *_: network)
        network.quantizer.embedding, network.grid = torch.nn.Embedding(40, 8), 5
        with pytest.raises(BadWeights, match="does not draw the VQGAN's 25 tokens of 40 codes"):
            Pair(pack, torch.device("cpu"), torch.float32)


def test_the_embedded_pack_draws_offline() -> None:
    """The pair that ships knows the scorer that ships, and what it draws after a lemon is yellow."""
    packs = find_packs()
    assert Method.CLIPGEN in packs["embedded"].methods
    runner = ModelRunner(packs, choose_device(EngineSettings(device="cpu", threads=1)))
    asked = Params(prompt="a photo of a lemon", seed=1, pack="embedded", method=Method.CLIPGEN, candidates=16)
    job = Job(id="lemon", caller=Caller(user="ada", name="ada"), params=asked, state=State.RUNNING, created_at=0.0)
    picture = found(_steps(runner, job)[-1]).pictures[0].pixels
    assert picture is not None
    red, green, blue = picture.reshape(-1, 3).mean(0)
    assert min(red, green) > blue + 50


def _batcher(runner: ModelRunner, run: Callable[..., list[object]]) -> Batcher:
    def start(job: Job, past: Past | None) -> object:
        return METHODS[job.params.method].run(job, runner.space(job.params.pack), past)

    return Batcher(run=run, start=start, room=8, step_s=0.05)  # type: ignore[arg-type]


def _steps(runner: ModelRunner, job: Job) -> list[Happening]:
    batcher = _batcher(runner, runner.run)
    batcher.add(job)
    happened: list[Happening] = []
    while batcher.has_work:
        happened += batcher.step()
    return happened
