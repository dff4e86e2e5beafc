"""Slack over HTTP: only what Slack signed gets in, once; and workspaces that install the app."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from bot.settings import BotSettings
from bot.slack_adapter import SlackAdapter
from bot.slack_book import Book
from bot.store import Store
from storage.errors import UserError
from tests.bot.slack_stage import Stage, peer, settings_for, stage
from tests.fakes.slack.delivery import signature
from tests.fakes.slack.workspace import ADA, CLIENT_ID, CLIENT_SECRET, CODE, GENERAL, SECRET, TEAM

FORM = "application/x-www-form-urlencoded"
BODY = (
    f"token=x&team_id={TEAM}&team_domain=d&channel_id={GENERAL}&channel_name=general&user_id={ADA}&user_name=ada"
    "&command=%2Fdream&text=a+lemon&api_app_id=A0&response_url=&trigger_id=1.2.3"
)


@pytest.fixture
async def play(store: Store, settings: BotSettings) -> AsyncIterator[Stage]:
    """The adapter behind HTTP."""
    async with peer() as slack, stage(slack, store, settings, http=True) as running:
        yield running
        assert await slack.problems() == []


async def send(play: Stage, body: str, headers: dict[str, str]) -> int:
    """What the bot answers to a request of anybody."""
    async with aiohttp.ClientSession() as session:
        answer = await session.post(play.url + "/slack/events", data=body, headers=headers | {"Content-Type": FORM})
        return answer.status


def signed(body: str = BODY, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers of a signed request."""
    return signature(body.encode(), str(int(time.time() if at is None else at)), secret)


async def test_the_official_vector_passes() -> None:
    """The example of Slack's documentation gives the signature that stands there."""
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    made = signature(body.encode(), "1531420618", "8f742231b10e8888abcd99yyyzzz85a5")
    assert made["X-Slack-Signature"] == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


async def test_only_signed_and_fresh_requests_get_in(play: Stage) -> None:
    """A bit flipped, another secret, too old, from the future, no header, a body encoded anew: 401, and no job."""
    good = signed()
    flipped = good["X-Slack-Signature"][:-1] + ("0" if good["X-Slack-Signature"][-1] != "0" else "1")
    forged: list[tuple[str, dict[str, str]]] = [
        (BODY, good | {"X-Slack-Signature": flipped}),
        (BODY, signed(secret="another")),
        (BODY, signed(at=time.time() - 301)),
        (BODY, signed(at=time.time() + 400)),
        (BODY, {}),
        (BODY, {"X-Slack-Signature": good["X-Slack-Signature"]}),
        (BODY.replace("a+lemon", "a%20lemon"), good),
    ]
    assert [await send(play, body, headers) for body, headers in forged] == [401] * len(forged)
    assert await play.store.queue.waiting(10) == []
    assert await send(play, BODY, signed(at=time.time() - 200)) == 200
    await play.slack.until(lambda entry: entry["kind"] == "post")
    assert len(await play.store.queue.waiting(10)) == 1


async def test_a_hundred_replays_are_one_job(play: Stage) -> None:
    """The same signed request, a hundred times at once."""
    headers = signed()
    assert set(await asyncio.gather(*(send(play, BODY, headers) for _ in range(100)))) == {200}
    await play.slack.until(lambda entry: entry["kind"] == "post")
    assert len(await play.store.queue.waiting(200)) == 1
    assert len((await play.slack.state())["channels"][GENERAL]) == 1


async def test_a_replay_after_a_restart_is_one_job(play: Stage, store: Store, settings: BotSettings) -> None:
    """The bot that answered is gone; the next one knows."""
    headers = signed()
    assert await send(play, BODY, headers) == 200
    await play.slack.until(lambda entry: entry["kind"] == "post")
    async with stage(play.slack, store, settings, http=True) as second:
        assert await send(second, BODY, headers) == 200
    assert len(await store.queue.waiting(10)) == 1
    assert len((await play.slack.state())["channels"][GENERAL]) == 1


async def test_commands_interactions_and_events_come_over_http(play: Stage) -> None:
    """A dream, its button, a retried mention, and Slack's question whether the address is ours."""
    assert (await play.slack.slash("a lemon"))["status"] == 200
    queued = await play.slack.until(lambda entry: entry["kind"] == "post")
    assert (await play.slack.press(queued, "cancel"))["status"] == 200
    await play.slack.until(lambda entry: entry["kind"] == "ephemeral")
    after = await play.slack.mark()
    assert (await play.slack.mention("<@U0DREAMBOT> a barn", copies=2))["ack"]["status"] == 200
    await play.slack.until(lambda entry: entry["kind"] == "post", after)
    assert [job.params.prompt for job in await play.store.queue.waiting(10)] == ["a barn"]
    challenge = '{"type": "url_verification", "challenge": "abc", "token": "x"}'
    async with aiohttp.ClientSession() as session:
        headers = signature(challenge.encode(), str(int(time.time()))) | {"Content-Type": "application/json"}
        answer = await session.post(play.url + "/slack/events", data=challenge, headers=headers)
        assert await answer.json() == {"challenge": "abc"}


async def consented(play: Stage, code: str, *, cookie: bool = True) -> int:
    """Our page, Slack's consent, and back to us with a code; the status of that."""
    async with aiohttp.ClientSession() as session:
        page = await (await session.get(play.url + "/slack/install")).text()
        link = re.search(r'href="(https://slack.com/oauth/v2/authorize[^"]+)"', page)
        assert link is not None
        asked = parse_qs(urlsplit(link[1].replace("&amp;", "&")).query)
        assert "chat:write" in asked["scope"][0]
        state = asked["state"][0]
        kept = (
            {"Cookie": f"slack-app-oauth-state={state}"} if cookie else {}
        )  # it is for https only, so no jar sends it
        back = await session.get(f"{play.url}/slack/oauth_redirect?code={code}&state={state}", headers=kept)
        return back.status


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # slack_sdk's own call
async def test_a_workspace_installs_uses_and_removes_the_app(store: Store, settings: BotSettings) -> None:
    """No token in the settings: before the installation nothing works, after it all does, and after removal nothing."""
    oauth: dict[str, Any] = {"slack_client_id": CLIENT_ID, "slack_client_secret": CLIENT_SECRET}
    own = BotSettings(**(settings.model_dump() | oauth))
    async with peer() as slack, stage(slack, store, own, http=True, single=False) as play:
        await slack.slash("a lemon")
        assert await store.queue.waiting(10) == []
        assert await consented(play, "guessed") == 401
        assert await consented(play, CODE, cookie=False) == 400  # somebody else's browser
        assert await consented(play, CODE) == 200
        await slack.slash("a lemon")
        await slack.until(lambda entry: entry["kind"] == "post")
        assert len(await store.queue.waiting(10)) == 1
        denied = await slack.slash("pause", command="/dream-admin")  # its admins are its own, not ours
        assert "That did not work" in denied["body"]["text"]
        await slack.control("event", event={"type": "app_uninstalled"})
        book = await Book.open(own.home / "slack.db")
        try:
            async with asyncio.timeout(60):
                bots = await book.installations(CLIENT_ID)
                while await bots.async_find_bot(enterprise_id=None, team_id=TEAM) is not None:
                    await slack.control("state")
        finally:
            await book.close()
        await slack.slash("a barn")
        assert len(await store.queue.waiting(10)) == 1


async def test_settings_that_cannot_work_are_said_in_words(store: Store, settings: BotSettings) -> None:
    """A bot token alone, HTTP without a port, a token that Slack does not know: one sentence each."""
    from bot.house import House

    house = House.of(store)
    async with peer() as slack:
        token = {"slack_bot_token": "xoxb-wrong", "slack_api_url": slack.api}
        alone = BotSettings(**(settings.model_dump() | token))
        with pytest.raises(UserError, match="DREAMBOT_SLACK_APP_TOKEN"):
            SlackAdapter(alone, house)
        with pytest.raises(UserError, match="DREAMBOT_SLACK_HTTP_PORT"):
            SlackAdapter(BotSettings(**(alone.model_dump() | {"slack_signing_secret": SECRET})), house)
        wrong = settings_for(slack, settings).model_dump() | {"slack_bot_token": "xoxb-wrong"}
        with pytest.raises(UserError, match="does not accept DREAMBOT_SLACK_BOT_TOKEN"):
            await SlackAdapter(BotSettings(**wrong), house).run()
