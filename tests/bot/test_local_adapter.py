"""The mailbox: once, whole, and never outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import cards
from bot.local_adapter import LocalAdapter, address, slug
from storage.job import Caller
from tests.bot.jobs import job

CARD = cards.result_card(job())


async def test_a_letter_lies_under_guild_and_user(tmp_path: Path) -> None:
    """mail/<guild>/<user>/<job>.json holds the card."""
    adapter = LocalAdapter(tmp_path)
    message_id = await adapter.post("local/ada", CARD, "k7f3q2")
    assert message_id == "local/ada/k7f3q2.json"
    letter = json.loads((tmp_path / "mail" / message_id).read_text())
    assert letter["job"] == "k7f3q2"
    assert letter["images"] == ["a" * 64]


async def test_a_second_post_changes_nothing(tmp_path: Path) -> None:
    """The same nonce twice is one letter: the first, with no draft left beside it."""
    adapter = LocalAdapter(tmp_path)
    first = await adapter.post("local/ada", CARD, "k7f3q2")
    inode = (tmp_path / "mail" / first).stat().st_ino
    second = await adapter.post("local/ada", cards.error_card("other"), "k7f3q2")
    assert second == first
    assert (tmp_path / "mail" / first).stat().st_ino == inode
    assert [file.name for file in (tmp_path / "mail/local/ada").iterdir()] == ["k7f3q2.json"]


async def test_a_draft_left_by_a_kill_is_no_letter(tmp_path: Path) -> None:
    """A draft of a killed process does not stand in the way."""
    adapter = LocalAdapter(tmp_path)
    folder = tmp_path / "mail/local/ada"
    folder.mkdir(parents=True)
    (folder / ".k7f3q2.0000").write_text('{"half')
    assert json.loads((tmp_path / "mail" / await adapter.post("local/ada", CARD, "k7f3q2")).read_text())


@given(st.text(max_size=120), st.text(max_size=120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_out_of_the_mailbox(tmp_path: Path, guild: str, user: str) -> None:
    """Whatever people and guilds are called, their letters lie two folders below the root."""
    adapter = LocalAdapter(tmp_path)
    letter = adapter.letter(address(Caller(user=user, name=user, guild=guild)), "k7f3q2")
    assert letter.parent.parent.parent == tmp_path / "mail"
    assert letter.resolve().is_relative_to((tmp_path / "mail").resolve())


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_names_are_two_folders(one: str, other: str) -> None:
    """Slugs of different names differ, also where a file system ignores case."""
    assert (slug(one).lower() == slug(other).lower()) == (one == other)


@pytest.mark.parametrize("reply_to", ["", "x", "../..", "a/../b", "/etc/x", "a/b/c", "A/b", "a/"])
async def test_a_foreign_address_is_refused(tmp_path: Path, reply_to: str) -> None:
    """Only addresses that this adapter wrote are written to."""
    with pytest.raises(ValueError, match="not an address"):
        await LocalAdapter(tmp_path).post(reply_to, CARD, "k7f3q2")
