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
    lines += [f"anew {name} a lime --seed 4", f"vary {name}", f"vote {name}", "gallery --of guild", "settings --keep 2"]
    lines += ["export", "forget-me --sure no", "help vary", "leaderboard --by person --period week", f"cancel {name}"]
    for line in [*lines, f"delete {name}"]:
        card = await phrases.answer(ADA, f"/{line}")
        asked = line.startswith("forget-me")
        assert (card.tone is Tone.WRONG) is asked, (line, card.text)


@pytest.mark.parametrize(
    "line",
    [
        "/nosuch",
        "",
        "/dream",
        "/dream a --seed x",
        "/admin",
        "/admin ban",
        "/show",
        "/cancel",
        "/help luck",
        "/export x",
    ],
)
async def test_a_wrong_line_is_a_card(phrases: Phrases, line: str) -> None:
    """Errors are answers."""
    assert (await phrases.answer(ADA, line)).tone is Tone.WRONG


async def test_a_slash_dreams_unless_a_verb_has_what_it_needs(
    phrases: Phrases, commands: Commands, engine: FakeEngine
) -> None:
    """A verb with a job, options or nothing is the verb; all else is a prompt, and so is all after a lone `--`."""
    name = await dreamt(commands, engine)
    verbs = ["queue", "help vary", "leaderboard --by votes", f"show {name}", f"SHOW {name.upper()}", f"vary {name}", ""]
    for text in [*verbs, f"rerank {name} a lime", "show k7f3q2", "cancel", "help"]:
        card = await phrases.slash(ADA, text)
        job = await commands.job(card.job) if card.job and card.job != "k7f3q2" else None
        assert job is None or job.params.prompt in ("a lemon", "a lime"), text
    for text, prompt in (
        ("a blue dog --seed 3", "a blue dog"),
        ("queue of penguins", "queue of penguins"),
        ("show me a lemon", "show me a lemon"),
        ("show lemons", "show lemons"),  # looks like a job, and is none
        ("cancel culture", "cancel culture"),
        ("help the bears", "help the bears"),
        ("-- queue", "queue"),
        ("-- show " + name, "show " + name),
        ("dream within a dream", "dream within a dream"),
        ("admin", "admin"),
    ):
        job = await commands.job(str((await phrases.slash(ADA, text)).job))
        assert job.params.prompt == prompt


async def test_what_is_ours_is_a_number(phrases: Phrases, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is told as a number, never as its text."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(store.queue, "history", broken)
    card = await phrases.answer(ADA, "/history")
    assert "#" in card.text
    assert "secret" not in card.text


@given(st.text(max_size=60))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_line_is_answered(phrases: Phrases, line: str) -> None:
    """No text makes it raise, as a line, behind any verb, or behind a slash."""
    assert (await phrases.answer(ADA, line)).title
    assert (await phrases.slash(ADA, line)).title
    for verb in phrases.verbs:
        assert (await phrases.answer(ADA, f"/{verb} {line}")).title
