"""Slack in one process: the peer, the real libraries over TCP, the bot's parts, and an engine that is stepped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from bot.delivery import Delivery
from bot.house import House
from bot.settings import BotSettings
from bot.slack_adapter import SlackAdapter
from bot.store import Store
from tests.fakes.engine import PACK, FakeEngine
from tests.fakes.slack.driver import ANSWER_S, Slack
from tests.fakes.slack.server import Peer
from tests.fakes.slack.workspace import APP_TOKEN, BOT_TOKEN, SECRET
from tests.scenarios.slack import free_port

PATIENT_ACK_S = 2.5  # nearly bolt's own three: a busy machine must not turn every answer into "one moment"


@asynccontextmanager
async def peer() -> AsyncIterator[Slack]:
    """A Slack in this process."""
    made = Peer()
    runner = web.AppRunner(made.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.workspace.base = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
            yield Slack(made.workspace.base, session, ANSWER_S)
    finally:
        await runner.cleanup()


def settings_for(slack: Slack, settings: BotSettings, *, http: bool = False, single: bool = True) -> BotSettings:
    """The test's settings, with the peer's tokens; without a workspace's own token unless `single`."""
    here: dict[str, object] = {"slack_api_url": slack.api, "progress_s": 0.0}
    here |= {"slack_bot_token": BOT_TOKEN} if single else {}
    here |= {"slack_signing_secret": SECRET, "slack_http_port": free_port()} if http else {"slack_app_token": APP_TOKEN}
    return BotSettings(**(settings.model_dump() | here))


@dataclass
class Stage:
    """A bot on a Slack."""

    slack: Slack
    store: Store
    engine: FakeEngine
    adapter: SlackAdapter
    delivery: Delivery
    settings: BotSettings

    @property
    def url(self) -> str:
        """Where HTTP mode listens."""
        return f"http://127.0.0.1:{self.settings.slack_http_port}"

    async def step(self) -> int:
        """The engine ends what waits; returns how many jobs."""
        jobs = await self.store.queue.claim(self.engine.owner, 8)
        for job in jobs:
            await self.engine.run(job)
        return len(jobs)

    async def sent(self) -> None:
        """Until no reply is owed any more."""
        async with asyncio.timeout(ANSWER_S):
            while await self.store.outbox.unsent(["slack"]):
                await self.delivery.send()


@asynccontextmanager
async def stage(
    slack: Slack,
    store: Store,
    settings: BotSettings,
    *,
    http: bool = False,
    single: bool = True,
    ack_s: float = PATIENT_ACK_S,
) -> AsyncIterator[Stage]:
    """The adapter listens; letters go when the test says so."""
    own = settings_for(slack, settings, http=http, single=single)
    adapter = SlackAdapter(own, House.of(store), ack_s=ack_s)
    engine = FakeEngine(store.database, own)
    await engine.engines.publish_pack(PACK)
    play = Stage(slack, store, engine, adapter, Delivery(store, {"slack": adapter}), own)
    running = asyncio.create_task(adapter.run())
    try:
        await adapter.listening()
        if http:
            await slack.control("http", url=play.url + "/slack/events")
        yield play
    finally:
        await adapter.close()
        await running
