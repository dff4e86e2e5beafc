"""The Slack surface as a whole, over Socket Mode: every way to ask, once answered, in the right place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.settings import BotSettings
from bot.store import Store
from storage.job import Caller, State
from tests.bot.slack_stage import Stage, peer, stage
from tests.fakes.slack import driver
from tests.fakes.slack.workspace import ADA, BEN, BOT_USER, EVE, GENERAL, PRIVATE


@pytest.fixture
async def play(store: Store, settings: BotSettings) -> AsyncIterator[Stage]:
    """The adapter on a Slack, with the store of the test. Nothing illegal may have been sent at the end."""
    async with peer() as slack, stage(slack, store, settings) as running:
        yield running
        assert await slack.problems() == []


async def posted(play: Stage, after: int = 0) -> driver.Entry:
    """The next new message of the bot."""
    return await play.slack.until(lambda entry: entry["kind"] == "post", after)


async def whispered(play: Stage, after: int = 0) -> driver.Entry:
    """The next words for one person only."""
    return await play.slack.until(lambda entry: entry["kind"] == "ephemeral", after)


async def everyones(play: Stage) -> list[Any]:
    """All jobs."""
    return list(await play.store.queue.waiting(100))


async def test_a_dream_has_one_message_from_queue_to_picture(play: Stage) -> None:
    """Acknowledged without words; queued, then the result, in the same message of the channel."""
    assert (await play.slack.slash("a lemon --seed 7"))["body"] is None
    queued = await posted(play)
    assert driver.buttons(queued["message"]) == [f"v1:cancel:{(await everyones(play))[0].id}"]
    await play.step()
    await play.sent()
    result = await play.slack.until(lambda entry: entry["kind"] == "update")
    assert result["ts"] == queued["ts"]
    assert len(driver.pictures(result["message"])) == 4


async def test_a_wrong_request_is_answered_by_the_ack(play: Stage) -> None:
    """For the asker's eyes only, with the allowed values; no message, no job."""
    ack = await play.slack.slash("a lemon --seed many")
    assert ack["body"]["response_type"] == "ephemeral"
    assert "seed" in ack["body"]["text"]
    assert await everyones(play) == []


async def test_commands_that_nobody_knows_are_acknowledged(play: Stage) -> None:
    """Unknown command, button, shortcut, event: an ack each, never a timeout."""
    assert "not a command" in (await play.slack.slash("x", command="/dreem"))["body"]["text"]
    said = await play.slack.control("message", user=ADA, channel=GENERAL, text="hello")
    shortcut = {"user": ADA, "channel": GENERAL, "ts": said["ts"], "callback_id": "unknown"}
    assert (await play.slack.control("shortcut", **shortcut))["acked"]
    assert (await play.slack.control("event", event={"type": "reaction_added", "user": ADA}))["acked"]


async def test_one_request_delivered_twice_is_one_job(play: Stage) -> None:
    """At the same time, as a second socket or a cut one may do."""
    await play.slack.control("slash", text="a lemon", user=ADA, channel=GENERAL, command="/dream", copies=2)
    await posted(play)
    assert len(await everyones(play)) == 1


async def test_slacks_retries_of_an_event_are_one_job(play: Stage) -> None:
    """Three deliveries of the same mention, and one message in its thread."""
    said = await play.slack.mention(f"<@{BOT_USER}> a lemon", copies=3)
    queued = await posted(play)
    assert queued["message"]["thread_ts"] == said["ts"]
    assert [job.params.prompt for job in await everyones(play)] == ["a lemon"]
    acks = [e for e in (await play.slack.state())["ledger"] if e["kind"] == "ack"]
    assert [ack["acked"] for ack in acks] == [True] * 3


async def test_a_mention_in_a_thread_stays_there(play: Stage) -> None:
    """Slash commands do not work in threads; a mention does, with markup, entities and links as people meant them."""
    root = await play.slack.control("message", user=BEN, channel=GENERAL, text="look")
    await play.slack.mention(f"<@{BOT_USER}> R&amp;B &lt;3 <https://a.example|a.example>", user=BEN, thread=root["ts"])
    queued = await posted(play)
    assert queued["message"]["thread_ts"] == root["ts"]
    assert (await everyones(play))[0].params.prompt == "R&B <3 https://a.example"
    after = await play.slack.mark()
    await play.slack.mention(f"<@{BOT_USER}> help", user=BEN, thread=root["ts"])
    assert (await whispered(play, after))["user"] == BEN


async def test_a_direct_message_is_a_command_too(play: Stage) -> None:
    """In its own conversation; its guild is the direct one, where nobody sees the others."""
    await play.slack.control("message", user=BEN, text="a barn", direct=True)
    queued = await posted(play)
    assert queued["channel"] == f"D{BEN[1:]}"
    (job,) = await everyones(play)
    assert job.caller.direct


async def test_dream_this_dreams_of_a_message(play: Stage) -> None:
    """The answer goes into the message's thread."""
    said = await play.slack.control("message", user=BEN, channel=GENERAL, text="a lighthouse --seed 9")
    shortcut = {"user": ADA, "channel": GENERAL, "ts": said["ts"], "callback_id": "dream_this"}
    assert (await play.slack.control("shortcut", **shortcut))["acked"]
    assert (await posted(play))["message"]["thread_ts"] == said["ts"]
    assert (await everyones(play))[0].params.prompt == "a lighthouse --seed 9"


async def test_a_form_is_opened_filled_in_and_answered(play: Stage) -> None:
    """Edit prompt: a modal with the old prompt, a new job in the same channel; a wrong value is said in the modal."""
    await play.slack.slash("a lemon --seed 7")
    await play.step()
    await play.sent()
    result = await play.slack.until(lambda entry: entry["kind"] == "update")
    await play.slack.press(result, "edit", user=BEN)
    view = (await play.slack.until(lambda entry: entry["kind"] == "view"))["view"]
    assert view["blocks"][0]["element"]["initial_value"] == "a lemon"
    wrong = await play.slack.submit(view, {"prompt": "a lime", "seed": "many"}, user=BEN)
    assert wrong["body"]["response_action"] == "update"
    await play.slack.press(result, "edit", user=BEN)
    second = await play.slack.until(lambda entry: entry["kind"] == "view" and entry["view"]["id"] != view["id"])
    after = await play.slack.mark()
    await play.slack.submit(second["view"], {"prompt": "a lime", "seed": ""}, user=BEN)
    assert (await posted(play, after))["channel"] == GENERAL
    (job,) = await everyones(play)
    assert (job.params.prompt, job.caller.user) == ("a lime", BEN)


async def test_a_deleted_dream_is_gone_from_slack_too(play: Stage) -> None:
    """Delete asks, for the asker's eyes only; then the message loses its pictures, and the uploads are deleted."""
    await play.slack.slash("a lemon --seed 7")
    await play.step()
    await play.sent()
    result = await play.slack.until(lambda entry: entry["kind"] == "update")
    await play.slack.press(result, "delete")
    sure = await whispered(play, result["n"])
    after = await play.slack.mark()
    assert (await play.slack.press(sure, "erase"))["acked"]
    await whispered(play, after)
    await play.sent()
    emptied = await play.slack.until(lambda entry: entry["kind"] == "update", after)
    assert driver.pictures(emptied["message"]) == []
    assert "a lemon" not in str(emptied["message"])
    assert (await play.slack.state())["files"] == {}


async def test_private_answers_survive_a_used_up_response_url(play: Stage) -> None:
    """By response_url while it takes them; after half an hour by the API; in a channel without us, directly."""
    await play.slack.slash("a lemon")
    queued = await posted(play)
    after = await play.slack.mark()
    await play.slack.press(queued, "cancel", user=BEN)
    assert (await whispered(play, after))["by"] == "response_url"
    await play.slack.control("fault", kind="expired_url", method="response_url")
    after = await play.slack.mark()
    await play.slack.press(queued, "cancel", user=BEN)
    assert (await whispered(play, after))["by"] == "api"
    await play.slack.control("fault", kind="expired_url", method="response_url")
    await play.slack.control("channel", channel=GENERAL, private=True, member=False)
    after = await play.slack.mark()
    await play.slack.press(queued, "cancel", user=BEN)
    assert (await posted(play, after))["channel"] == f"D{BEN[1:]}"


async def test_a_private_channel_without_us_is_answered_directly(play: Stage) -> None:
    """The command works; the message comes as a direct one."""
    await play.slack.slash("a lemon", channel=PRIVATE)
    assert (await posted(play))["channel"] == f"D{ADA[1:]}"


ADMIN = ("pause", "resume", "drain", "stats", "audit", f"ban {BEN}", f"unban {BEN}", f"limit {BEN} 3", "purge 7")


@pytest.mark.parametrize(("user", "allowed"), [(ADA, True), (BEN, False), (EVE, False)])
async def test_only_the_workspaces_admins_are_admins(play: Stage, user: str, allowed: bool) -> None:
    """An admin of this workspace may; a member and another workspace's admin get one sentence, and no act is done."""
    for line in ADMIN:
        text = (await play.slack.slash(line, user=user, command="/dream-admin"))["body"]["text"]
        assert ("admin" in text and "That did not work" in text) != allowed, (line, text)
    assert bool(await play.store.users.audit_log(50)) == allowed


async def test_whoever_slack_does_not_vouch_for_is_no_admin(play: Stage) -> None:
    """users.info fails: default deny, and a dream works all the same."""
    await play.slack.control("fault", kind="503", method="users.info", times=2)
    assert "That did not work" in (await play.slack.slash("pause", command="/dream-admin"))["body"]["text"]
    assert (await play.slack.slash("a lemon"))["acked"]
    await posted(play)
    assert len(await everyones(play)) == 1


async def test_an_export_is_handed_over_directly(play: Stage) -> None:
    """The words for the asker alone, the file into their direct messages, shared once Slack is ready with it."""
    ack = await play.slack.slash("export")
    assert "0 jobs" in ack["body"]["text"]
    sent = await play.slack.until(lambda entry: entry["kind"] == "post" and "files" in entry["message"])
    assert [file["name"] for file in sent["message"]["files"]] == ["dreams.zip"]
    assert sent["channel"].startswith("D")


async def test_the_home_tab_has_the_queue_and_the_best(play: Stage) -> None:
    """Own jobs that wait, own best pictures, and buttons that work from there."""
    await play.slack.slash("a lemon --keep 1")
    await play.step()
    await play.sent()
    await play.slack.slash("a barn")
    opened = {"type": "app_home_opened", "user": ADA, "channel": "D0ADA", "tab": "home", "event_ts": "1.2"}
    await play.slack.control("event", event=opened)
    home = (await play.slack.until(lambda entry: entry["kind"] == "home"))["view"]
    assert len(driver.pictures(home)) == 1
    assert any("a barn" in str(block) for block in home["blocks"])
    show = next(name for name in driver.buttons(home) if name.startswith("v1:show:"))
    after = await play.slack.mark()
    assert (await play.slack.control("press", user=ADA, action_id=show))["acked"]
    assert (await posted(play, after))["channel"] == f"D{ADA[1:]}"


async def test_a_cut_socket_and_a_refresh_lose_nothing(play: Stage) -> None:
    """The next command waits for the next socket; Slack's request to come again is followed."""
    await play.slack.control("socket", do="refresh")
    assert (await play.slack.slash("a lemon"))["acked"]
    await play.slack.control("socket", do="cut")
    assert (await play.slack.slash("a barn"))["acked"]
    await play.slack.until(lambda entry: entry["kind"] == "post" and "a barn" in entry["message"]["text"])
    assert len(await everyones(play)) == 2


async def test_two_sockets_share_the_work(play: Stage, store: Store, settings: BotSettings) -> None:
    """A second bot on the same app: each request goes to one of them, and each is one job with one message."""
    async with stage(play.slack, store, settings) as second:
        for number in range(4):
            assert (await play.slack.slash(f"lemon number {number}"))["acked"]
        await play.slack.until(lambda entry: entry["kind"] == "post" and "number 3" in entry["message"]["text"])
        while await second.step():
            await second.sent()
    assert (await play.slack.state())["sockets"] == 1
    jobs = await store.queue.history(Caller(user=ADA, name="ada", surface="slack"), 10)
    assert [job.state for job in jobs] == [State.COMPLETED] * 4
    assert len((await play.slack.state())["channels"][GENERAL]) == 4


async def test_a_slow_store_is_one_moment(store: Store, settings: BotSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row takes longer than Slack waits: acknowledged with "one moment", finished behind it."""
    go = asyncio.Event()
    submit = store.queue.submit

    async def slow(request: Any) -> Any:
        await go.wait()
        return await submit(request)

    monkeypatch.setattr(store.queue, "submit", slow)
    async with peer() as slack, stage(slack, store, settings, ack_s=0.05) as play:
        ack = await slack.slash("a lemon")
        assert ack["body"] == {"response_type": "ephemeral", "text": "One moment …"}
        go.set()
        await posted(play)
        assert len(await everyones(play)) == 1


async def test_what_breaks_after_the_ack_is_not_lost(play: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack refuses the message: the ack was sent, the job is there, and its result arrives."""
    await play.slack.control("fault", kind="503", method="chat.postMessage", times=1)
    assert (await play.slack.slash("a lemon"))["acked"]
    await play.slack.until(lambda entry: entry["kind"] == "call" and entry["status"] == 503)
    await play.step()
    await play.sent()
    assert len((await play.slack.state())["channels"][GENERAL]) == 1


async def test_what_breaks_before_the_ack_is_a_sentence(play: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours: a number for the person, an entry in the log, an ack in time."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(play.store.queue, "submit", broken)
    assert "Something broke; we have it as #" in (await play.slack.slash("a lemon"))["body"]["text"]
