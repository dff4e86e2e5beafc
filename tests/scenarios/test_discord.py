"""Discord from the command to the result: the real discord.py, the real store, a real engine, a peer on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.discord.peer import text_of
from tests.scenarios.discord_house import DiscordHouse, buttons, job_named, open_discord_house


@pytest.fixture
async def discord(tmp_path: Path, tiny_folder: Path) -> AsyncIterator[DiscordHouse]:
    """A bot that listens; no engine yet."""
    async with open_discord_house(tmp_path / "home", tiny_folder) as made:
        await made.start_bot()
        yield made


async def test_a_dream_from_the_command_to_the_result(discord: DiscordHouse) -> None:
    """Acknowledged with its place, then shown with pictures and buttons in the same message, once."""
    card = await discord.dream("a lemon", pack="tiny")
    job = job_named(card)
    assert "queued" in text_of(card)
    assert f"v1:cancel:{job}" in buttons(card)
    await discord.start_engine()
    result = await discord.done(card)
    assert result["id"] == card["id"]
    assert len(result["attachments"]) == 2
    assert {"anew", "vary", "rerank", "edit", "show"} <= {one.split(":")[1] for one in buttons(result)}
    assert len(await discord.peer.finals(job)) == 1
    assert await discord.peer.problems() == []
