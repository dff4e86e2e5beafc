"""Every promise of `tests.contracts.adapters`, by the mailbox and by Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from bot.discord_adapter import DiscordAdapter
from bot.discord_address import Address
from bot.house import House
from bot.local_adapter import LocalAdapter
from bot.settings import BotSettings
from bot.store import Store
from tests.contracts.adapters import PROMISES, Stage
from tests.fakes.discord.peer import open_peer, text_of
from tests.fakes.discord.world import APP, CHANNEL, TOKEN

Promise = Callable[[Stage], Awaitable[None]]


@asynccontextmanager
async def local(store: Store) -> AsyncIterator[Stage]:
    """A mailbox."""
    home = store.settings.home

    async def seen() -> list[str]:
        return await asyncio.to_thread(lambda: [one.read_text() for one in sorted((home / "mail").rglob("*.json"))])

    yield Stage(adapter=LocalAdapter(home), reply_to="local/ada", seen=seen, refuses_nonsense=ValueError)


@asynccontextmanager
async def discord(store: Store) -> AsyncIterator[Stage]:
    """The real adapter in this process, logged in to the peer."""
    async with open_peer() as peer:
        about = {"discord_token": SecretStr(TOKEN), "discord_api": peer.base}
        settings = BotSettings(**store.settings.model_dump() | about)
        adapter = DiscordAdapter(settings, House.of(store))
        running = asyncio.create_task(adapter.run())
        await peer.ready()

        async def seen() -> list[str]:
            return [text_of(message) for message in (await peer.state())["messages"]]

        address = Address(interaction=1, channel=int(CHANNEL), application=int(APP))
        try:
            yield Stage(adapter=adapter, reply_to=address.write(), seen=seen)
        finally:
            await adapter.close()
            await running


@pytest.mark.parametrize("surface", [local, discord], ids=["local", "discord"])
async def test_every_promise_is_kept(store: Store, surface: Callable[[Store], AsyncIterator[Stage]]) -> None:
    """One message a nonce, progress that may be lost, nonsense refused."""
    async with surface(store) as stage:  # type: ignore[attr-defined]
        for promise in PROMISES:
            await promise(stage)
