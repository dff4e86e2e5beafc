"""The block list: what it stops, what it lets through, and how it changes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bot.commands import Commands
from bot.moderation import Moderation
from bot.store import Store
from storage.errors import UserError
from tests.factories import make_caller, make_params


def written(path: Path, text: str, at: int) -> Path:
    """The file, with a time of its own."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


@pytest.mark.parametrize(
    "prompt",
    ["a Bad thing", "a BÁD thing", "bad", "a b\u200bad thing", "a ｂａｄ thing", "worse\n words here", "xray"],
)
def test_what_is_blocked(tmp_path: Path, prompt: str) -> None:
    """Case, accents, invisible and wide letters, spacing: none is a way around; the rule's words are not said."""
    moderation = Moderation(written(tmp_path / "list", "# these\nbad\n\nworse words\n/x.ay/\n", 1))
    with pytest.raises(UserError, match=r"not allowed here \(rule [245]\)") as refusal:
        moderation.check(prompt)
    assert "bad" not in str(refusal.value)


@pytest.mark.parametrize("prompt", ["a badge", "the worse of words", "# these", "a lemon"])
def test_what_is_not_blocked(tmp_path: Path, prompt: str) -> None:
    """Whole words only, in their order; comments are no rules."""
    Moderation(written(tmp_path / "list", "# these\nbad\nworse words\n", 1)).check(prompt)
    Moderation(None).check(prompt)


def test_it_changes_while_we_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new list holds at once; a broken or missing one leaves the last good one in force and is logged."""
    path = written(tmp_path / "list", "bad\n", 1)
    moderation = Moderation(path)
    written(path, "bad\nlemon\n", 2)
    with pytest.raises(UserError, match="rule 2"):
        moderation.check("a lemon")
    written(path, "/(/\n", 3)
    with pytest.raises(UserError, match="rule 2"):
        moderation.check("a lemon")
    assert "stays as it was" in caplog.text
    path.unlink()
    with pytest.raises(UserError, match="rule 1"):
        moderation.check("bad")
    written(path, "\n", 4)
    moderation.check("a lemon")


@pytest.mark.parametrize(("text", "said"), [("/(/\n", "line 1 is not a regular"), (None, "No such file")])
def test_a_list_that_is_wrong_from_the_start_is_a_sentence(tmp_path: Path, text: str | None, said: str) -> None:
    """Nobody starts without the protection that they asked for."""
    if text is not None:
        written(tmp_path / "list", text, 1)
    with pytest.raises(UserError, match=said):
        Moderation(tmp_path / "list")


async def test_every_way_to_dream_is_checked(store: Store, tmp_path: Path) -> None:
    """A blocked dream leaves no job behind."""
    path = written(tmp_path / "list", "bad\n", 1)
    commands = Commands(replace(store, settings=store.settings.model_copy(update={"blocklist": path})))
    with pytest.raises(UserError, match="not allowed"):
        await commands.dream(make_caller(), make_params("a bad dream"))
    assert await store.queue.waiting() == []
