"""One message a request on Slack, whatever breaks between us and Slack, and whoever is killed when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from bot.adapter import TryLater, Undeliverable
from bot.cards import Card, Tone
from bot.settings import BotSettings
from bot.slack_book import Book
from bot.slack_messages import Address, Messages
from bot.slack_pictures import POLLS_S, TRIES, Pictures
from bot.slack_workspaces import Workspaces
from tests.bot.slack_stage import peer, settings_for
from tests.fakes.engine import png
from tests.fakes.slack.driver import Slack, pictures
from tests.fakes.slack.workspace import ADA, ARCHIVED, GENERAL, PRIVATE, QUIET, TEAM

DIGEST = "a" * 64
DONE = Card(tone=Tone.DONE, title="“a lemon”", images=(DIGEST,), job="k7f3q2")
RUNNING = Card(tone=Tone.RUNNING, title="“a lemon”", text="1 of 2", job="k7f3q2")


@dataclass
class Post:
    """Messages and what they stand on."""

    slack: Slack
    messages: Messages
    book: Book
    paused: list[float]

    def address(self, channel: str = GENERAL, key: str = "1", thread: str | None = None) -> str:
        """Where a request of Ada's is answered."""
        return str(Address.of(TEAM, channel, thread, ADA, key))

    async def there(self, channel: str = GENERAL) -> list[dict[str, object]]:
        """The bot's messages of a channel."""
        return [m for m in (await self.slack.state())["channels"][channel] if m.get("bot_id")]


@pytest.fixture
async def post(tmp_path: Path, settings: BotSettings) -> AsyncIterator[Post]:
    """On a peer of its own, with a picture in the store; nothing is slept."""
    (tmp_path / "picture.png").write_bytes(png(b"\x10\x20\x30" * 64))
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    async with peer() as slack, aiohttp.ClientSession() as session:
        workspaces = Workspaces(settings_for(slack, settings), session, None)
        await workspaces.begin()
        book = await Book.open(tmp_path / "slack.db")
        files = Pictures(book, lambda _: tmp_path / "picture.png", 256, pause=pause)
        yield Post(slack, Messages(book, workspaces, files), book, paused)
        await book.close()


async def test_progress_and_result_are_one_message(post: Post) -> None:
    """Posted once, edited twice; the picture is part of it, enlarged, and the same nonce again changes nothing."""
    ts = await post.messages.open(post.address(), RUNNING)
    assert await post.messages.open(post.address(), RUNNING) == ts
    await post.messages.edit(post.address(), replace(RUNNING, text="2 of 2", images=(DIGEST,)))
    assert await post.messages.final(post.address(), DONE) == ts
    assert await post.messages.final(post.address(), DONE) == ts
    (message,) = await post.there()
    (file,) = pictures(message)
    assert len(await post.slack.picture(file)) > 100
    assert len((await post.slack.state())["files"]) == 1
    assert post.paused == [POLLS_S[0]]  # Slack's processing was waited for, once
    assert await post.slack.problems() == []


async def test_a_reply_without_a_message_is_posted_once(post: Post) -> None:
    """Nobody posted a message when the job was accepted: the result is the message."""
    first = await post.messages.final(post.address(), DONE)
    assert await post.messages.final(post.address(), DONE) == first
    assert await post.messages.open(post.address(), RUNNING) == first  # too late, and changes nothing
    (message,) = await post.there()
    assert len(pictures(message)) == 1


@pytest.mark.parametrize("fault", ["502_after_store", "cut_after_store"])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_lost_answer_doubles_nothing(post: Post, fault: str, in_thread: bool) -> None:
    """Slack stored the message and the answer was lost: the next try finds it, in the channel or in the thread."""
    said = await post.slack.control("message", user=ADA, channel=GENERAL, text="hello")
    address = post.address(thread=said["ts"] if in_thread else None)
    await post.slack.control("fault", kind=fault, method="chat.postMessage")
    with pytest.raises(TryLater):
        await post.messages.final(address, DONE)
    await post.messages.final(address, DONE)
    assert len(await post.there()) == 1


async def test_a_post_that_never_arrived_is_made_again(post: Post) -> None:
    """Slack was down before it stored anything: looked for, not found, posted."""
    await post.slack.control("fault", kind="503", method="chat.postMessage")
    with pytest.raises(TryLater):
        await post.messages.final(post.address(), DONE)
    await post.messages.final(post.address(), DONE)
    assert len(await post.there()) == 1


async def test_killed_between_post_and_note(post: Post) -> None:
    """The process died after Slack stored the message and before we wrote its name down: its metadata tells."""
    address = post.address()
    ts = await post.messages.open(address, RUNNING)
    await post.book.forget(address)
    await post.book.begin(address, GENERAL)  # as the dead process left it
    assert await post.messages.final(address, DONE) == ts
    assert len(await post.there()) == 1


async def test_rate_limits_are_obeyed(post: Post) -> None:
    """429 says when to come back, for a post and for an edit."""
    await post.slack.control("fault", kind="429", method="chat.postMessage", seconds=7)
    with pytest.raises(TryLater) as caught:
        await post.messages.final(post.address(), DONE)
    assert caught.value.seconds == 7
    await post.messages.final(post.address(), DONE)
    await post.slack.control("fault", kind="429", method="chat.update", seconds=3)
    with pytest.raises(TryLater):
        await post.messages.edit(post.address(), RUNNING)
    assert len(await post.there()) == 1


async def test_an_upload_that_slack_never_finishes(post: Post) -> None:
    """`ok`, and nothing comes of it: uploaded once more; if that does not help either, later."""
    await post.slack.control("fault", kind="never_ready", method="files.completeUploadExternal", times=1)
    await post.messages.final(post.address(), DONE)
    assert len((await post.slack.state())["files"]) == 2
    await post.slack.control("fault", kind="never_ready", method="files.completeUploadExternal", times=TRIES)
    other = replace(DONE, images=("b" * 64,))
    with pytest.raises(TryLater):
        await post.messages.final(post.address(key="2"), other)
    await post.messages.final(post.address(key="2"), other)
    assert len(await post.there()) == 2


async def test_a_file_that_is_gone_is_uploaded_anew(post: Post) -> None:
    """Somebody deleted the upload: the block is refused, the next try uploads it again."""
    await post.book.uploaded(TEAM, DIGEST, "F404")
    with pytest.raises(Exception, match="invalid_blocks"):
        await post.messages.final(post.address(), DONE)
    await post.messages.final(post.address(), DONE)
    assert len(await post.there()) == 1


async def test_a_deleted_message_comes_back_as_the_result_only(post: Post) -> None:
    """Who deletes the progress message still gets the picture; a deleted result stays deleted."""
    ts = await post.messages.open(post.address(), RUNNING)
    await post.slack.control("remove", channel=GENERAL, ts=ts)
    await post.messages.edit(post.address(), RUNNING)
    assert await post.there() == []
    fresh = await post.messages.final(post.address(), DONE)
    await post.slack.control("remove", channel=GENERAL, ts=fresh)
    await post.messages.edit(post.address(), DONE)
    assert await post.there() == []


@pytest.mark.parametrize("channel", [ARCHIVED, PRIVATE, QUIET, "C0GONE"])
async def test_where_we_may_not_speak_the_person_is_answered_directly(post: Post, channel: str) -> None:
    """Archived, private, without us, gone: one direct message, edited like any other."""
    address = post.address(channel)
    await post.messages.open(address, RUNNING)
    await post.messages.final(address, DONE)
    (message,) = await post.there(f"D{ADA[1:]}")
    assert len(pictures(message)) == 1


@pytest.mark.parametrize("error", ["account_inactive", "token_revoked", "missing_scope"])
async def test_what_can_never_arrive_is_said_so(post: Post, error: str) -> None:
    """The letter is closed with a reason in words."""
    await post.slack.control("fault", kind="error", method="chat.postMessage", error=error)
    with pytest.raises(Undeliverable, match=" "):
        await post.messages.final(post.address(), DONE)


async def test_another_workspace_is_undeliverable(post: Post) -> None:
    """No token for it: the app is not installed there any more."""
    with pytest.raises(Undeliverable, match="not installed"):
        await post.messages.final(str(Address.of("T0GONE", GENERAL, None, ADA, "1")), DONE)


async def test_handled_deliveries_are_remembered_for_a_day(tmp_path: Path) -> None:
    """Over a restart, and not for ever."""
    now = [1_000_000.0]
    first = await Book.open(tmp_path / "book.db", wall=lambda: now[0])
    await first.is_handled("slack:1")
    await first.is_handled("slack:1")
    await first.close()
    now[0] += 86_000
    second = await Book.open(tmp_path / "book.db", wall=lambda: now[0])
    assert await second.was_handled("slack:1")
    await second.close()
    now[0] += 1_000
    third = await Book.open(tmp_path / "book.db", wall=lambda: now[0])
    assert not await third.was_handled("slack:1")
    await third.close()
