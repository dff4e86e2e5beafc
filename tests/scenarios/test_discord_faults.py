"""What goes wrong between the bot and Discord, each with exactly one final message on the ledger.

One house for all: a fake engine (no tensors), the real store, the real bot with the real discord.py.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.discord.peer import Entry, text_of
from tests.fakes.discord.world import CHANNEL, FOREIGN_CHANNEL, OTHER_CHANNEL
from tests.scenarios.discord_house import DiscordHouse, job_named, open_discord_house

pytestmark = pytest.mark.asyncio(loop_scope="module")
RESULT = "v1:anew:"  # stands in the buttons of a result only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def discord(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DiscordHouse]:
    """A bot and a fake engine, for the whole module."""
    folder = tmp_path_factory.mktemp("discord")
    async with open_discord_house(folder / "home", folder) as made:
        await made.start_engine("tests.fakes.engine")
        await made.start_bot()
        yield made


async def held(discord: DiscordHouse, **options: Any) -> tuple[Entry, str]:
    """A dream that is acknowledged and waits, as the queue is paused."""
    await discord.house.queue.pause()
    card = await discord.dream(**options)
    return card, job_named(card)


async def one_end(discord: DiscordHouse, job: str) -> Entry:
    """Let the queue go on; the one message that tells the end, once its letter is closed."""
    await discord.house.queue.resume()
    await discord.house.finished([await discord.house.job(job)])
    await discord.letters_closed()
    (final,) = await discord.peer.finals(job)
    assert await discord.peer.problems() == []
    return final


async def test_a_lost_answer_to_the_acknowledgement(discord: DiscordHouse) -> None:
    """502 after the acknowledgement was stored: found again, and the result edits that very message."""
    await discord.peer.fault("callback", "after", status=502)
    card, job = await held(discord)
    assert (await one_end(discord, job))["id"] == card["id"]


@pytest.mark.parametrize("kind", ["before", "after"])
async def test_a_lost_answer_to_the_result(discord: DiscordHouse, kind: str) -> None:
    """502 before or after the result was stored: the edit is made again, and one message stands."""
    card, job = await held(discord)
    await discord.peer.fault("edit", kind, status=502, about=RESULT)
    assert (await one_end(discord, job))["id"] == card["id"]


async def test_a_lost_answer_to_a_new_message(discord: DiscordHouse) -> None:
    """The card was deleted and the new message's answer is lost: the nonce makes the second try the first message."""
    card, job = await held(discord)
    await discord.peer.control("delete", message=card["id"])
    await discord.peer.fault("create", "after", status=502)
    final = await one_end(discord, job)
    assert final["id"] != card["id"]
    assert [entry["id"] for entry in discord.peer.entries if entry["what"] == "same_nonce"] == [final["id"]]


@pytest.mark.parametrize(("via", "everywhere"), [(True, False), (True, True), (False, False)])
async def test_a_rate_limit(discord: DiscordHouse, via: bool, everywhere: bool) -> None:
    """429 of the route, of everything, and of a proxy in between: waited for, and sent once."""
    card, job = await held(discord)
    await discord.peer.fault("edit", "before", status=429, seconds=0.05, via=via, everywhere=everywhere, about=RESULT)
    assert (await one_end(discord, job))["id"] == card["id"]


async def test_a_picture_that_is_too_large(discord: DiscordHouse) -> None:
    """413: smaller pictures are sent instead."""
    card, job = await held(discord, keep=1)
    await discord.peer.fault("edit", "before", status=413, about=RESULT)
    final = await one_end(discord, job)
    assert final["id"] == card["id"]
    assert len(final["attachments"]) == 1


async def test_a_picture_that_never_fits(discord: DiscordHouse) -> None:
    """413 whatever the size: the words arrive and say that pictures are missing."""
    _, job = await held(discord, keep=1)
    await discord.peer.fault("edit", "before", status=413, times=100, about='"filename"')
    try:
        final = await one_end(discord, job)
    finally:
        await discord.peer.control("faults_off")
    assert final["attachments"] == []
    assert "cannot be shown here" in text_of(final)


async def test_the_size_that_the_interaction_names_is_kept(discord: DiscordHouse) -> None:
    """A result is never larger than `attachment_size_limit`."""
    _, job = await held(discord, keep=1, who={"limit": 200})
    final = await one_end(discord, job)
    assert all(one["size"] <= 200 for one in final["attachments"])


async def test_a_token_that_has_died(discord: DiscordHouse) -> None:
    """Sixteen minutes in the queue: the result comes as an edit by the bot, without the token."""
    card, job = await held(discord)
    await discord.peer.control("clock", seconds=16 * 60)
    assert (await one_end(discord, job))["id"] == card["id"]
    assert not [e for e in discord.peer.entries if e["what"] == "request" and e["refused"] == 50027]


async def test_an_acknowledgement_that_comes_too_late(discord: DiscordHouse) -> None:
    """Discord gave up on the interaction; the job is in the store, and its result is a message of its own."""
    await discord.house.queue.pause()
    interaction = await discord.peer.command("dream", prompt="a late lemon", who={"age_s": 4})
    await discord.peer.until(lambda entry: entry.get("refused") == 10062)
    (job,) = [job for job in await discord.house.queue.waiting() if job.params.prompt == "a late lemon"]
    final = await one_end(discord, job.id)
    assert final["channel_id"] == CHANNEL
    assert interaction not in {entry.get("interaction") for entry in discord.peer.entries if entry["what"] == "ack"}


@pytest.mark.parametrize(
    "shake",
    [
        {"do": "reconnect"},
        {"do": "invalidate", "resumable": True},
        {"do": "invalidate", "resumable": False},
        {"do": "cut"},
        {"do": "cut", "code": 4000},
    ],
)
async def test_a_gateway_that_goes_away(discord: DiscordHouse, shake: Entry) -> None:
    """Op 7, op 9, a cut socket: the bot is back and answers, and the dream before it ends once."""
    card, job = await held(discord)
    await discord.peer.look()
    before = len(discord.peer.entries)
    await discord.peer.control("gateway", **shake)
    await discord.peer.until(lambda entry: entry["what"] in ("resumed", "ready"), before)
    again = await discord.answered(await discord.peer.command("dreams", "show", job=job))
    assert job_named(again) == job
    assert (await one_end(discord, job))["id"] == card["id"]


async def test_an_interaction_that_comes_twice(discord: DiscordHouse) -> None:
    """A resume repeats an interaction: one job, one acknowledgement, one result."""
    card, job = await held(discord, prompt="a doubled lemon")
    await discord.peer.control("gateway", do="cut")
    await discord.peer.look()
    before = len(discord.peer.entries)
    await discord.peer.control("again")
    await discord.peer.until(lambda entry: entry.get("refused") == 40060, before)
    same = [one for one in await discord.house.queue.waiting() if one.params.prompt == "a doubled lemon"]
    assert [one.id for one in same] == [job]
    assert (await one_end(discord, job))["id"] == card["id"]


async def test_a_channel_that_is_gone(discord: DiscordHouse) -> None:
    """Nothing can be delivered there: the letter is closed, and the others are not held up."""
    _, lost = await held(discord, who={"channel": OTHER_CHANNEL})
    _, job = await held(discord)
    await discord.peer.control("channel", id=OTHER_CHANNEL, gone=True)
    try:
        await one_end(discord, job)
    finally:
        await discord.peer.control("channel", id=OTHER_CHANNEL, gone=False)
    assert (await discord.house.job(lost)).finished_at is not None


async def test_where_the_bot_is_not(discord: DiscordHouse) -> None:
    """Brought along by a person: answered by the token while it lives."""
    card, job = await held(discord, who={"channel": FOREIGN_CHANNEL, "user_install": True})
    final = await one_end(discord, job)
    assert final["id"] == card["id"]
    assert final["attachments"]


async def test_where_the_bot_is_not_and_the_token_has_died(discord: DiscordHouse) -> None:
    """There is no way left: the letter is closed, the card stays, and `show` has the job."""
    card, job = await held(discord, who={"channel": FOREIGN_CHANNEL, "user_install": True})
    await discord.peer.control("clock", seconds=16 * 60)
    await discord.house.queue.resume()
    await discord.house.finished([await discord.house.job(job)])
    await discord.letters_closed()
    assert await discord.peer.finals(job) == []
    shown = await discord.answered(
        await discord.peer.command("dreams", "show", who={"channel": FOREIGN_CHANNEL, "user_install": True}, job=job)
    )
    assert shown["attachments"]
    assert card["id"] != shown["id"]


async def test_a_bot_that_is_killed_before_it_knows_that_the_result_arrived(discord: DiscordHouse) -> None:
    """The result is stored, its answer hangs, the bot is killed: the next one tries again, and one message stands."""
    card, job = await held(discord)
    await discord.peer.control("delete", message=card["id"])
    await discord.peer.look()
    before = len(discord.peer.entries)
    await discord.peer.fault("create", "hang")
    await discord.house.queue.resume()
    await discord.peer.until(lambda entry: entry["what"] == "hang", before)
    assert discord.bot is not None
    discord.bot.send_signal(signal.SIGKILL)
    discord.bot.wait()
    await discord.start_bot()
    await discord.letters_closed()
    assert len(await discord.peer.finals(job)) == 1
