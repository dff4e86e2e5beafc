"""Logging in to Discord: an outage is waited for, a wrong token is said in words."""

from __future__ import annotations

import pytest
from aiohttp import web

from bot import discord_adapter
from bot.discord_adapter import DiscordAdapter
from bot.house import House
from bot.settings import BotSettings
from bot.store import Store
from storage.errors import UserError


async def test_an_outage_at_the_start_is_waited_for(
    store: Store, settings: BotSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call is cut; the login is tried again, and what Discord then says of the token counts."""
    monkeypatch.setattr(discord_adapter, "RETRY_S", 0.0)
    calls = 0

    async def me(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1 and request.transport is not None:
            request.transport.abort()
        return web.json_response({"message": "401: Unauthorized", "code": 0}, status=401)

    app = web.Application()
    app.router.add_get("/api/v10/users/@me", me)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = "http://{}:{}".format(*runner.addresses[0][:2])
        own = BotSettings(**(settings.model_dump() | {"discord_token": "x.y.z", "discord_api": base}))
        adapter = DiscordAdapter(own, House.of(store))
        with pytest.raises(UserError, match="DREAMBOT_DISCORD_TOKEN"):
            await adapter.run()
        await adapter.close()
    finally:
        await runner.cleanup()
    assert calls == 2
