"""Lines that people type."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.admin import Admin
from bot.cards import Tone
from bot.commands import Commands
from bot.phrases import Phrases
from bot.store import Store
from tests.bot.test_commands import ADA, dreamt
from tests.fakes.engine import FakeEngine


@pytest.fixture
def phrases(store: Store, commands: Commands) -> Phrases:
    """Lines on the real store."""
    return Phrases(commands, Admin(store))


async def test_a_dream_keeps_four_in_chat(phrases: Phrases, commands: Commands) -> None:
    """Options are read, the rest is the prompt, and the chat's defaults hold."""
    card = await phrases.answer(ADA, "/dream a blue dog --seed 3")
    job = await commands.job(str(card.job))
    assert (job.params.prompt, job.params.seed, job.params.keep) == ("a blue dog", 3, 4)


async def test_every_verb_answers(phrases: Phrases, commands: Commands, engine: FakeEngine) -> None:
    """Each command works by its words alone."""
    name = await dreamt(commands, engine)
    lines = [f"again {name}", f"rerank {name} a lime --by judge", f"show {name}", "queue", "history", "help"]
    for line in [*lines, "leaderboard --by person", f"cancel {name}"]:
        card = await phrases.answer(ADA, f"/{line}")
        assert card.tone is not Tone.WRONG, (line, card.text)


@pytest.mark.parametrize(
    "line", ["/nosuch", "", "/dream", "/dream a --seed x", "/admin", "/admin ban", "/show", "/cancel"]
)
async def test_a_wrong_line_is_a_card(phrases: Phrases, line: str) -> None:
    """Errors are answers."""
    assert (await phrases.answer(ADA, line)).tone is Tone.WRONG


async def test_what_is_ours_is_a_number(phrases: Phrases, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is told as a number, never as its text."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(store.queue, "history", broken)
    card = await phrases.answer(ADA, "/history")
    assert "#" in card.text
    assert "secret" not in card.text


@given(st.text(max_size=60))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_line_is_answered(phrases: Phrases, line: str) -> None:
    """No text makes it raise."""
    assert (await phrases.answer(ADA, line)).title
