"""What messages say, and that a terminal shows people's text as text."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bot import boards, cards
from bot.cards import Card, Standing
from bot.terminal import draw
from storage.errors import UserError
from storage.events import Event, Kind
from storage.job import Caller, Outcome, Reason, State, Withdrawn
from tests.bot.jobs import job


def drawn(card: Card) -> str:
    """What a wide terminal without colours shows."""
    out = io.StringIO()
    Console(file=out, width=4_000, color_system=None).print(draw(card))
    return out.getvalue()


def test_a_result_shows_what_is_needed_to_judge_and_repeat() -> None:
    """Seed, score, label, method, pack, seconds and the note stand on the card."""
    shown = drawn(cards.result_card(job(note="The prompt was cut after 77 tokens.")))
    for fact in ("a lemon", "seed", "7", "0.310", "lemon", "search", "embedded", "1.9", "k7f3q2", "77 tokens"):
        assert fact in shown


def test_buttons_name_verb_and_job() -> None:
    """Ids hold all that a restart needs, and are short enough for every platform."""
    ids = [button.id for button in cards.result_card(job()).buttons]
    assert ids == [f"v1:{verb}:k7f3q2" for _, verb in cards.UNDER_A_RESULT]
    assert max(map(len, ids)) <= 100


def test_a_queued_card_is_honest_about_its_place() -> None:
    """Rank and range; or that the engine is not running, or the queue paused."""
    standing = Standing(job=job(state=State.QUEUED), position=3, eta=(2.0, 130.0))
    assert cards.place(standing) == "queued, #3, done in 2 s to 2 min"
    assert cards.place(standing, engine=False) == "queued; the engine is not running"
    assert cards.place(standing, paused=True) == "queued; the queue is paused"


def test_a_card_of_a_dream_says_whose_it_is() -> None:
    """Queued, running, done, failed, cancelled; not where its pictures were taken away, and in details as a fact."""
    event = Event(kind=Kind.PROGRESSED, job="k7f3q2", at=0.0, data={"done": 1, "total": 2})
    waiting = cards.queued_card(Standing(job=job(state=State.QUEUED), position=1), engine=True, paused=False)
    ended = [cards.job_card(job(state=state)) for state in (State.COMPLETED, State.FAILED, State.CANCELLED)]
    assert {card.asker for card in (waiting, cards.progress_card(job(), event), *ended)} == {job().caller.name}
    assert cards.job_card(job(withdrawn=Withdrawn.DELETED)).asker is None
    details = cards.details_card(job())
    assert (details.asker, {f.name: f.value for f in details.fields}["by"]) == (None, job().caller.name)


def test_progress_shows_the_best_so_far() -> None:
    """Done, total, the best score and its picture."""
    event = Event(
        kind=Kind.PROGRESSED,
        job="k7f3q2",
        at=0.0,
        data={"done": 5, "total": 10, "preview": "d" * 64, "score": 0.25},
    )
    card = cards.progress_card(job(), event)
    assert card.text == "5 of 10, best 0.250 by CLIP so far"
    assert card.images == ("d" * 64,)


def test_again_says_identical_or_what_differs() -> None:
    """The verdict of an `again` is a sentence."""
    assert "Identical to aaaaaa" in cards.job_card(job(again_of="aaaaaa", identical=True)).text
    found = {"pixels": 0.25, "max": 9, "changed": ["torch 2.11 -> 2.15"]}
    text = cards.job_card(job(again_of="aaaaaa", identical=False, difference=found)).text
    assert "25.0%" in text
    assert "torch 2.11 -> 2.15" in text


@pytest.mark.parametrize("reason", Reason)
def test_each_failure_has_a_sentence(reason: Reason) -> None:
    """A failed job's card says why, also where nobody left a message."""
    card = cards.job_card(job(state=State.FAILED, reason=reason, images=()))
    assert card.text.endswith(".")
    assert cards.Field("reason", reason.value) in card.fields


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_a_sentence_and_a_row(outcome: Outcome) -> None:
    """All five answers of a cancel, for people and for scripts."""
    card = cards.cancel_card("k7f3q2", outcome)
    assert card.rows == ({"job": "k7f3q2", "outcome": outcome.value},)
    assert "k7f3q2" in card.text


@given(st.text(min_size=1, max_size=80).filter(str.strip))
@settings(deadline=None)
def test_any_prompt_is_shown_without_steering_the_terminal(prompt: str) -> None:
    """No prompt puts a control character or an escape on the screen."""
    try:
        card = cards.result_card(job(prompt, note=prompt))
    except UserError:  # NUL and lone surrogates never become a job
        return
    shown = drawn(card)
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e" for c in shown)


@pytest.mark.parametrize("prompt", ["[red]dog[/red]", "[/]", "[link=http://x]y[/link]", ":smile:", "{task.x}", "\\[b]"])
def test_markup_is_shown_as_it_was_typed(prompt: str) -> None:
    """Rich's markup in a prompt is text, in titles and in tables."""
    assert prompt in drawn(cards.result_card(job(prompt)))
    assert prompt in drawn(boards.history_card([job(prompt)]))


def test_ranges_of_time_are_never_more_exact_than_they_are() -> None:
    """Seconds below a minute and a half, minutes above."""
    assert cards.span((1.2, 1.3)) == "about 1 s"
    assert cards.span((20.0, 600.0)) == "20 s to 10 min"


@given(st.text(min_size=1, max_size=3_000).filter(str.strip))
@settings(max_examples=20, deadline=None)
def test_any_prompt_stands_on_every_card(prompt: str) -> None:
    """Each card that shows a prompt or a name is drawn, whatever they are; a title and a cell are never too long."""
    person = Caller(user=prompt[:100], name=prompt[:100])
    try:
        done = job(prompt, caller=person, note=prompt)
    except UserError:  # NUL and lone surrogates never become a job
        return
    waiting = replace(done, state=State.QUEUED, images=(), finished_at=None)
    standing = Standing(job=waiting, position=3, eta=(5.0, 60.0))
    event = Event(kind=Kind.PROGRESSED, job=done.id, at=1.0, data={"done": 1, "total": 2, "score": 0.3})
    row = {"rank": 1, "score": 0.3, "votes": 2, "name": prompt, "job": done.id, "prompt": prompt, "sha256": "a" * 64}
    shown = [
        cards.result_card(done),
        cards.details_card(done),
        cards.queued_card(standing, engine=True, paused=False),
        cards.progress_card(waiting, event, (1.0, 9.0)),
        cards.failed_card(replace(done, state=State.FAILED, message=prompt)),
        cards.withdrawn_card(replace(done, withdrawn=Withdrawn.DELETED)),
        boards.queue_card([standing], engine=True, paused=False, guilds=True),
        boards.history_card([done]),
        boards.gallery_card([row], prompt),
        *(boards.leaderboard_card([row], by) for by in ("score", "votes", "person")),
    ]
    for card in shown:
        assert drawn(card)
        assert "\n" not in card.title
        assert len(card.title) <= 2 * cards.CUT
        assert all(len(cell) <= cards.CUT for cells in card.cells for cell in cells)


def test_a_withdrawn_card_tells_no_words() -> None:
    """Neither the prompt nor the pictures of what was deleted or withheld."""
    for kind in Withdrawn:
        card = cards.job_card(job("a lemon", withdrawn=kind))
        assert "lemon" not in drawn(card)
        assert not card.images
        assert not card.buttons
