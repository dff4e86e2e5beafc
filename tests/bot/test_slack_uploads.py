"""A picture beside the words on Slack: fetched with our token from Slack alone, and part of the target."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from PIL import Image

from bot.settings import BotSettings
from bot.slack_gate import odd
from bot.slack_uploads import LOST, is_slacks
from bot.store import Store
from tests.bot.slack_stage import Stage, peer, stage
from tests.bot.test_slack_surface import everyones, posted, whispered
from tests.fakes.slack.workspace import ADA, BEN, BOT_USER, GENERAL, SCOPES


@pytest.fixture
async def play(store: Store, settings: BotSettings) -> AsyncIterator[Stage]:
    """The adapter over Socket Mode."""
    async with peer() as slack, stage(slack, store, settings) as running:
        yield running
        assert await slack.problems() == []


def png() -> str:
    """A red square, as the peer's control takes it."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue().hex()


async def test_a_picture_in_a_mention_a_direct_message_and_under_dream_this(play: Stage) -> None:
    """Each is a dream with that picture in its target, and with the options that were written."""
    await play.slack.mention(f"<@{BOT_USER}> a lemon --seed 9", user=BEN, picture=png())
    await posted(play)
    after = await play.slack.mark()
    await play.slack.control("message", user=BEN, text="queue", direct=True, picture=png())
    await posted(play, after)
    said = await play.slack.control("message", user=BEN, channel=GENERAL, text="a barn", picture=png())
    after = await play.slack.mark()
    shortcut = {"user": ADA, "channel": GENERAL, "ts": said["ts"], "callback_id": "dream_this"}
    assert (await play.slack.control("shortcut", **shortcut))["acked"]
    await posted(play, after)
    jobs = {job.params.prompt: job for job in await everyones(play)}
    assert set(jobs) == {"a lemon", "queue", "a barn"}  # whoever sends a picture along means a dream
    assert jobs["a lemon"].params.seed == 9
    (digest,) = {job.params.image for job in jobs.values()}
    assert play.store.images.path(digest).is_file()


async def test_what_is_no_picture_is_a_sentence(play: Stage) -> None:
    """Nothing is queued; the asker alone is told."""
    await play.slack.mention(f"<@{BOT_USER}> a lemon", user=BEN, picture=b"no picture".hex())
    assert "PNG, JPEG or WebP" in str((await whispered(play))["message"])
    assert await everyones(play) == []


async def test_a_picture_that_slack_keeps_is_a_sentence(play: Stage) -> None:
    """Without files:read Slack answers with its sign-in page, which is not followed."""
    await play.slack.control("scopes", scopes=[scope for scope in SCOPES if scope != "files:read"])
    await play.slack.mention(f"<@{BOT_USER}> a lemon", user=BEN, picture=png())
    assert LOST in str((await whispered(play))["message"])
    assert await everyones(play) == []


async def refused(play: Stage, url: str) -> bool:
    """Whether a mention with a picture at that address is answered by the sentence, and by nothing else."""
    file = {"id": "F1", "mimetype": "image/png", "size": 10, "url_private": url}
    said = await play.slack.control("message", user=BEN, channel=GENERAL, text="a lemon")
    after = await play.slack.mark()
    event = said | {"type": "app_mention", "channel": GENERAL, "event_ts": said["ts"], "files": [file]}
    await play.slack.control("event", event=event)
    return LOST in str((await whispered(play, after))["message"]) and await everyones(play) == []


async def test_the_token_goes_nowhere_else(play: Stage) -> None:
    """An address that is not Slack's is not even asked, however much it looks like one."""
    heard = []

    async def listen(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        return web.Response(body=bytes.fromhex(png()))

    app = web.Application()
    app.router.add_get("/{anything:.*}", listen)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here = "http://{}:{}".format(*runner.addresses[0][:2])
        for url in (f"{here}/files.slack.com/x.png", f"{here}?https://files.slack.com", here, "file:///etc/passwd", ""):
            assert await refused(play, url), url
    finally:
        await runner.cleanup()
    assert heard == []


@pytest.mark.parametrize(
    ("url", "slacks"),
    [
        ("https://files.slack.com/files-pri/T1-F1/x.png", True),
        ("https://slack.com/x.png", True),
        ("http://files.slack.com/x.png", False),
        ("https://files.slack.com.elsewhere.example/x.png", False),
        ("https://notslack.com/x.png", False),
        ("https://files.slack.com@elsewhere.example/x.png", False),
        ("https://[broken", False),
    ],
)
def test_which_addresses_are_slacks(url: str, slacks: bool) -> None:
    """By scheme and host, and by nothing else that stands in it."""
    assert is_slacks(url, "https://slack.com/api/") is slacks


async def test_files_of_another_shape_are_no_picture(play: Stage) -> None:
    """The words are a dream all the same."""
    for number, files in enumerate(("x", {}, [None, 1, "x"], [{"mimetype": "text/plain"}], [{"mimetype": 7}])):
        said = await play.slack.control("message", user=BEN, channel=GENERAL, text=f"lemon {number}")
        after = await play.slack.mark()
        event = said | {"type": "app_mention", "channel": GENERAL, "event_ts": said["ts"], "files": files}
        await play.slack.control("event", event=event)
        await posted(play, after)
    assert [job.params.image for job in await everyones(play)] == [None] * 5


@pytest.mark.parametrize(("subtype", "wrong"), [("file_share", "event.ts is missing"), ("message_changed", None)])
def test_a_message_with_a_file_is_looked_at_like_any_other(subtype: str, wrong: str | None) -> None:
    """What will be answered must say where; what is nobody's business may look as it likes."""
    event = {"type": "message", "subtype": subtype, "user": BEN, "channel": GENERAL, "channel_type": "im"}
    assert odd({"type": "event_callback", "team_id": "T1", "event": event}) == wrong
