"""What is missing is said in words, with what mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from bot.discord_doctor import examine
from bot.settings import BotSettings
from tests.fakes.discord.peer import Peer, open_peer
from tests.fakes.discord.world import ALL_RIGHTS, GUILD, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer() -> AsyncIterator[Peer]:
    """One peer for all."""
    async with open_peer() as made:
        yield made


async def said(peer: Peer, token: str = TOKEN, **change: object) -> dict[str, tuple[bool | None, str]]:
    """The findings by their names."""
    await peer.control("application", **change)
    settings = BotSettings(home=Path("/nonexistent"), discord_token=SecretStr(token), discord_api=peer.base)
    return {finding.check: (finding.ok, finding.found) for finding in await examine(settings)}


async def test_without_a_token_nothing_is_asked() -> None:
    """Discord is optional."""
    assert await examine(BotSettings(home=Path("/nonexistent"))) == []


async def test_a_bot_in_order(peer: Peer) -> None:
    """Token, scopes, intents and every server are good; commands come with the first start."""
    found = await said(peer)
    assert {name for name, (ok, _) in found.items() if ok is not True} == {"discord commands"}
    assert "not registered yet" in found["discord commands"][1]


async def test_a_wrong_token(peer: Peer) -> None:
    """Where a new one is made."""
    ((ok, text),) = (await said(peer, token="another")).values()
    assert ok is False
    assert "Reset Token" in text


async def test_a_missing_permission(peer: Peer) -> None:
    """Named, with the server and a link that mends it."""
    found = await said(peer, rights={GUILD: str(int(ALL_RIGHTS) & ~(1 << 15))})
    ok, text = found["discord server The Guild"]
    assert ok is False
    assert "attach files" in text
    assert "oauth2/authorize" in text
    assert found["discord server The Other Guild"][0] is True


async def test_a_missing_scope_and_no_server(peer: Peer) -> None:
    """Named, with where they are ticked, and how the bot is invited."""
    found = await said(peer, scopes=["bot"], guilds={}, rights={})
    assert "applications.commands" in found["discord scopes"][1]
    assert "permissions=117760" in found["discord servers"][1]
