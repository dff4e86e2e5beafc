"""What every adapter promises to delivery, whatever its surface; each is run against the real thing or its peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from bot import cards
from bot.adapter import Adapter, Undeliverable
from storage.job import Job
from tests.bot.jobs import job


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """An adapter that runs, an address that it could have written, and the messages that people see there."""

    adapter: Adapter
    reply_to: str
    seen: Callable[[], Awaitable[Sequence[str]]]  # the words of each message
    refuses_nonsense: type[Exception] = Undeliverable


def done(name: str, prompt: str = "a lemon") -> Job:
    """A completed job without pictures."""
    return replace(job(prompt), id=name, images=())


async def the_same_nonce_twice_is_one_message(stage: Stage) -> None:
    """A letter that is posted again, as after a crash, changes nothing; its message keeps its id."""
    card = cards.job_card(done("twice1"))
    first = await stage.adapter.post(stage.reply_to, card, "twice1")
    assert await stage.adapter.post(stage.reply_to, card, "twice1") == first
    assert len([words for words in await stage.seen() if "twice1" in words]) == 1


async def another_nonce_is_another_message(stage: Stage) -> None:
    """Two jobs at one address are two messages."""
    for name in ("other1", "other2"):
        await stage.adapter.post(stage.reply_to, cards.job_card(done(name)), name)
    assert len([words for words in await stage.seen() if "other1" in words or "other2" in words]) == 2


async def progress_may_go_nowhere(stage: Stage) -> None:
    """An edit before there is a message is no error, and makes none."""
    before = await stage.seen()
    await stage.adapter.edit(stage.reply_to, cards.job_card(done("never1")))
    assert list(await stage.seen()) == list(before)


async def an_address_of_nobody_is_refused(stage: Stage) -> None:
    """What this adapter never wrote is refused at once, and for good."""
    with pytest.raises(stage.refuses_nonsense):
        await stage.adapter.post("somewhere else entirely", cards.job_card(done("lost1")), "lost1")


PROMISES = (
    the_same_nonce_twice_is_one_message,
    another_nonce_is_another_message,
    progress_may_go_nowhere,
    an_address_of_nobody_is_refused,
)
