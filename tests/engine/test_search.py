"""Search on the tiny pack: real networks, random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from engine.batcher import Happening
from engine.codec import pixels_sha256
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import METHODS, Found, Past
from engine.methods.found import best_of
from engine.methods.search import lean, slots
from engine.ops import EncodeImages, EncodeText, Preprocess
from engine.runner import ModelRunner
from storage.job import By, Image, Job, Method, Parity, State
from storage.recipe import digest

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]


def found(happening: Happening) -> Found:
    """The end of a job that must have ended well."""
    assert isinstance(happening.what, Found), happening.what
    return happening.what


def pixels(result: Found) -> list[str]:
    """Pixel digests, best first."""
    return [pixels_sha256(picture.pixels) for picture in result.pictures if picture.pixels is not None]


def test_the_best_by_clip_come_first(finish: Finish, make_job: MakeJob) -> None:
    """Of one label, kept pictures are the highest scores of all; judge and views measure them, too."""
    result = found(finish(make_job(keep=3, top_k=1))["aaaaaa"])
    scores = sorted((c.clip_score for c in result.candidates if c.clip_score is not None), reverse=True)
    assert [picture.clip_score for picture in result.pictures] == scores[:3]
    assert len(result.candidates) == 20
    assert all(p.judge_score is not None and p.augclip_score is not None for p in result.pictures)
    judged = {c.number: c.judge_score for c in result.candidates if c.judge_score is not None}
    assert judged == {p.candidate: p.judge_score for p in result.pictures}


def test_bits_are_the_same_alone_and_among_seven(finish: Finish, make_job: MakeJob) -> None:
    """A job's pictures and scores do not depend on who else is in the batch."""
    alone = found(finish(make_job("mine", candidates=40, keep=2))["mine"])
    others = [make_job(f"other{i}", seed=i, candidates=10 + 7 * i, prompt=f"{i} barns") for i in range(7)]
    together = found(finish(*others[:4], make_job("mine", candidates=40, keep=2), *others[4:])["mine"])
    assert pixels(together) == pixels(alone)
    assert [c.clip_score for c in together.candidates] == [c.clip_score for c in alone.candidates]
    assert [c.embedding for c in together.candidates] == [c.embedding for c in alone.candidates]


def test_a_candidate_is_its_number(finish: Finish, make_job: MakeJob) -> None:
    """The first eight candidates are the same among 8 as among 30."""
    few = found(finish(make_job(candidates=8))["aaaaaa"])
    many = found(finish(make_job(candidates=30))["aaaaaa"])
    assert [c.label for c in few.candidates] == [c.label for c in many.candidates[:8]]
    assert [c.clip_score for c in few.candidates] == pytest.approx(
        [c.clip_score for c in many.candidates[:8]], abs=2e-3
    )


def test_top_k_limits_the_labels(finish: Finish, make_job: MakeJob) -> None:
    """With top_k 1 every candidate has the nearest label; the default is at most half of them."""
    assert len({c.label for c in found(finish(make_job(top_k=1))["aaaaaa"]).candidates}) == 1
    assert len({c.label for c in found(finish(make_job(candidates=60))["aaaaaa"]).candidates}) == 2


def test_near_labels_are_drawn_more_often_and_none_of_the_k_never() -> None:
    """A clear winner gets most of the slots; the others share the rest alike; a tie is shared evenly."""
    clear = slots(np.array([0.2, 0.9, 0.3, 0.1]), 3)
    assert [clear.count(label) for label in range(4)] == [13, 173, 13, 0]
    even = slots(np.array([0.5, 0.5, 0.1]), 2)
    assert [even.count(0), even.count(1)] == [100, 100]


def test_an_unlikely_label_must_be_better_by_more_than_noise(runner: ModelRunner, make_job: MakeJob) -> None:
    """Ranks add 0.03 of the log of the label's share: an eighth as likely costs 0.06."""
    leaning = lean([0] * 80 + [1] * 10 + [2] * 10, 4)
    assert leaning[0] - leaning[1] == pytest.approx(0.03 * np.log(8))
    assert leaning[1] == leaning[2] > leaning[3]
    recipe = METHODS[Method.SEARCH].recipe(make_job(), runner.space("tiny"), None)
    assert recipe["prior"]["lean"] == 0.03


def test_ranks_lean_scores_do_not(finish: Finish, runner: ModelRunner, make_job: MakeJob) -> None:
    """The order is by score and leaning; the score that is shown is plain CLIP."""
    result, space = found(finish(make_job(keep=16, top_k=5))["aaaaaa"]), runner.space("tiny")
    text = runner.run(Launch((EncodeText("tiny", ("a lemon",)),)))[0].embeddings[0]
    leaning = lean(slots(space.similarities("a lemon", text), 5), 5)
    ranks = [(p.clip_score or 0.0) + leaning[space.labels.index(str(p.label))] for p in result.pictures]
    assert ranks == sorted(ranks, reverse=True)
    stored = {c.number: np.frombuffer(c.embedding or b"", "<f2").astype(float) @ text for c in result.candidates}
    assert [p.clip_score for p in result.pictures] == pytest.approx([stored[p.candidate] for p in result.pictures])


def test_what_the_prompt_names_counts_as_near(runner: ModelRunner) -> None:
    """A whole word of a label, or its plural, lifts it; a part of a word does not."""
    space = runner.space("tiny")
    text = np.zeros(32, np.float32)
    for prompt, named in [("Two LEMONS!", ["lemon"]), ("a barn, a teapot", ["barn", "teapot"]), ("barnacles", [])]:
        lifted = [space.labels[i] for i in np.flatnonzero(space.similarities(prompt, text) > 0.2)]
        assert lifted == named


def test_the_recipe_holds_resolved_values_and_no_id(runner: ModelRunner, make_job: MakeJob) -> None:
    """Two jobs that ask for the same have one recipe digest; another seed has another."""
    way, space = METHODS[Method.SEARCH], runner.space("tiny")
    recipes = [
        way.recipe(make_job(name, **more), space, None) for name, more in [("a", {}), ("b", {}), ("c", {"seed": 8})]
    ]
    assert recipes[0]["top_k"] == 2
    assert digest(recipes[0]) == digest(recipes[1]) != digest(recipes[2])


def test_outside_its_world_the_card_says_so(runner: ModelRunner, make_job: MakeJob) -> None:
    """Under the pack's threshold one line names the nearest things it can draw."""
    from engine.methods.search import outside_note

    space = replace(runner.space("tiny"), outside_below=0.5)
    similarity = np.array([0.1, 0.4, 0.3, 0.2, 0.0])
    assert outside_note(space, similarity) == (
        "This is outside what tiny can draw; the nearest it knows: barn, lion, goldfish."
    )
    assert outside_note(space, similarity + 0.2) is None


def test_a_long_prompt_says_where_it_was_cut(finish: Finish, make_job: MakeJob) -> None:
    """A note shows the last words that the text tower still reads."""
    note = found(finish(make_job(prompt="lemon " * 100))["aaaaaa"]).note
    assert note is not None
    assert "longer than CLIP reads" in note


@pytest.fixture
def past(finish: Finish, runner: ModelRunner, make_job: MakeJob) -> Past:
    """A completed search with two kept pictures."""
    job = make_job("parent", keep=2)
    result = found(finish(job)["parent"])
    images = tuple(
        Image(sha256="0", pixels_sha256=sha, width=64, height=64, candidate=p.candidate, label=p.label)
        for p, sha in zip(result.pictures, pixels(result), strict=True)
    )
    recipe = METHODS[Method.SEARCH].recipe(job, runner.space("tiny"), None)
    return Past(replace(job, state=State.COMPLETED, images=images, recipe=recipe), result.candidates)


def test_rerank_by_the_same_words_changes_nothing(finish: Finish, make_job: MakeJob, past: Past) -> None:
    """Scores come from the stored embeddings, so they are equal to the last digit, and the files are the kept ones."""
    job = make_job("again", method=Method.RERANK, keep=2)
    happening = finish(job, past=past)["again"]
    result = found(happening)
    assert [p.stored for p in result.pictures] == list(past.parent.images)
    assert [c.clip_score for c in result.candidates] == [c.clip_score for c in past.candidates]
    assert happening.rungs == ("EncodeText/16",)


def test_rerank_by_other_words_draws_the_same_pixels_again(finish: Finish, make_job: MakeJob, past: Past) -> None:
    """A picture that was not kept is regenerated from its number: as if it had been kept."""
    everything = found(finish(make_job("all", keep=16))["all"])
    known = {p.candidate: pixels_sha256(p.pixels) for p in everything.pictures if p.pixels is not None}
    result = found(finish(make_job("re", method=Method.RERANK, prompt="a barn", keep=16), past=past)["re"])
    redrawn = {p.candidate: pixels_sha256(p.pixels) for p in result.pictures if p.pixels is not None}
    assert len(redrawn.keys() & known.keys()) >= 5
    assert all(known[number] == redrawn[number] for number in redrawn.keys() & known.keys())


@pytest.mark.parametrize(("by", "name"), [(By.JUDGE, "judge_score"), (By.AUGCLIP, "augclip_score")])
def test_rerank_measures_what_was_not_measured(
    finish: Finish, make_job: MakeJob, past: Past, by: By, name: str
) -> None:
    """By judge or AugCLIP every candidate gets that score, and the order follows it."""
    result = found(finish(make_job("re", method=Method.RERANK, by=by, keep=3), past=past)["re"])
    scores = [getattr(c, name) for c in result.candidates]
    assert None not in scores
    assert [p.candidate for p in result.pictures] == [result.candidates[i].number for i in best_of(scores, 3)]
    assert {c.clip_score for c in result.candidates} == {None}


def test_the_published_search_is_its_code_s(runner: ModelRunner, finish: Finish, make_job: MakeJob) -> None:
    """`--parity csc2516`: the k labels nearest by one template, drawn alike, ranked by what raw pictures score."""
    job = make_job(parity=Parity.CSC2516, top_k=3, keep=2, candidates=60)
    result, space = found(finish(job)["aaaaaa"]), runner.space("tiny")
    texts = runner.run(Launch((EncodeText("tiny", tuple(f"An image of {label}" for label in space.labels)),)))[0]
    text = runner.run(Launch((EncodeText("tiny", ("a lemon",)),)))[0].embeddings[0]
    nearest = {space.labels[i] for i in best_of(texts.embeddings.astype(float) @ text, 3)}
    drawn = [c.label for c in result.candidates]
    assert set(drawn) == nearest
    assert min(drawn.count(label) for label in nearest) >= 10
    latents = Latents.stacked([space.redraw(7, c) for c in result.candidates[:32]])
    raw = runner.run(Launch((EncodeImages("tiny", latents, 32, preprocess=Preprocess.CSC2516),)))[0]
    first = [p.candidate for p in result.pictures if p.candidate < 32]
    assert first == [best for best in best_of(raw.astype(float) @ text, 32) if best in first]


def test_scores_of_a_parity_are_plain_clip(finish: Finish, make_job: MakeJob) -> None:
    """What is shown and stored is the score of the right preprocessing, so that no table mixes two."""
    ours = found(finish(make_job(top_k=5, prompt="a lemon"))["aaaaaa"])
    theirs = found(finish(make_job(top_k=5, prompt="a lemon", parity=Parity.CSC2516))["aaaaaa"])
    same = [(a, b) for a, b in zip(ours.candidates, theirs.candidates, strict=True) if a.label == b.label]
    assert same
    assert all(a.clip_score == b.clip_score and a.embedding == b.embedding for a, b in same)


def test_the_published_search_has_its_own_defaults(runner: ModelRunner, make_job: MakeJob) -> None:
    """Ten labels, however few there are, and no prior."""
    recipe = METHODS[Method.SEARCH].recipe(make_job(parity=Parity.CSC2516), runner.space("tiny"), None)
    assert recipe["top_k"] == 5
    assert recipe["prior"] == {"template": "An image of {}"}
    assert recipe["parity"] == "csc2516"
