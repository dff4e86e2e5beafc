"""Discord from the command to the result: the real discord.py, the real store, a real engine, a peer on loopback."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from tests.fakes.discord.peer import BOB, EVE, Entry, buttons, job_of, text_of
from tests.scenarios.discord_house import DiscordHouse, job_named, open_discord_house

AS_BOB = {"user": BOB}
AS_EVE = {"user": EVE}


@pytest.fixture
async def discord(tmp_path: Path, tiny_folder: Path) -> AsyncIterator[DiscordHouse]:
    """A bot that listens; no engine yet, and later one that runs a job at a time."""
    async with open_discord_house(tmp_path / "home", tiny_folder, DREAMBOT_ROOM="1", DREAMBOT_CAP="1") as made:
        await made.start_bot()
        yield made


def verbs(message: Entry) -> set[str]:
    """What can be pressed under a message."""
    return {one.split(":")[1] for one in buttons(message)}


async def said(discord: DiscordHouse, name: str, verb: str, **options: str | int) -> Entry:
    """The answer to a command that only asks."""
    return await discord.answered(await discord.peer.command(name, verb, **options))


async def test_a_day_on_discord(discord: DiscordHouse) -> None:
    """Dream, wait, watch, again, vary, re-rank, edit, vote, look, cancel, restart: every answer where it belongs."""
    await discord.start_engine()
    first = await queued_in_order(discord)
    result = await watched(discord, first)
    await repeated(discord, result)
    await looked_up(discord, result)
    await own_things(discord)
    await steered(discord)
    await restarted(discord, result)
    for entry in discord.peer.entries:
        if entry["what"] == "message" and (job := job_of(entry["message"])):
            assert len(await discord.peer.finals(job)) <= 1
    assert await discord.peer.problems() == []


async def queued_in_order(discord: DiscordHouse) -> Entry:
    """One runs and shows its picture, two of the same person wait and are told their places; only the owner cancels.

    Another person's would not wait: whoever has nothing running gets a seat beyond the room.
    """
    running = await discord.dream("a goldfish", pack="tiny", candidates=10_000)
    progress = await discord.peer.shown(lambda m: m["id"] == running["id"] and " of 10000" in text_of(m))
    assert progress["attachments"]
    first = await discord.dream("a lemon", pack="tiny", candidates=400)
    second = await discord.dream("a barn", pack="tiny")
    assert "#1" in text_of(first)
    assert "#2" in text_of(second)
    assert verbs(first) == {"cancel"}
    await discord.answered(await discord.peer.press(second, "cancel"))
    assert "Cancelled" in text_of(await discord.done(second))
    refusal = await discord.answered(await discord.peer.press(running, "cancel", who=AS_EVE))
    assert "somebody else's" in text_of(refusal)
    await discord.answered(await discord.peer.press(running, "cancel"))
    assert "Cancelled" in text_of(await discord.done(running))
    return first


async def watched(discord: DiscordHouse, card: Entry) -> Entry:
    """The result with buttons, in the message that told the place."""
    result = await discord.done(card)
    assert result["id"] == card["id"]
    assert len(result["attachments"]) == 2
    assert {"anew", "vary", "rerank", "edit", "show"} <= verbs(result)
    picture = await discord.peer.file(result["attachments"][0]["url"])
    assert picture.startswith(b"\x89PNG")
    return result


async def repeated(discord: DiscordHouse, result: Entry) -> None:
    """Again is identical; a new seed, a variation, a re-rank and an edited prompt are dreams with a parent."""
    job = job_named(result)
    again = await discord.done(await said(discord, "dreams", "again", job=job))
    assert f"Identical to {job}" in text_of(again)
    for verb in ("anew", "vary"):
        other = await discord.done(await discord.answered(await discord.peer.press(result, verb)))
        assert (await discord.house.job(job_named(other))).parent == job
    form = await discord.peer.ack(await discord.peer.press(result, "rerank"))
    assert form["type"] == 9
    filled_in = await discord.peer.fill_in(form, prompt="a teapot", by="judge")
    reranked = await discord.done(await discord.answered(filled_in))
    assert "rerank by judge" in text_of(reranked)
    form = await discord.peer.ack(await discord.peer.press(result, "edit"))
    edited = await discord.done(await discord.answered(await discord.peer.fill_in(form, prompt="a lion", seed="")))
    assert "a lion" in text_of(edited)


async def looked_up(discord: DiscordHouse, result: Entry) -> None:
    """Details, queue, history, leaderboard and help, some for the asker's eyes only; names are offered while typing."""
    job = job_named(result)
    details = await discord.answered(await discord.peer.press(result, "show", who=AS_BOB))
    assert job_of(details) == job
    assert details["flags"] & 64
    for verb, word in (("queue", "Nothing waits"), ("history", job), ("help", "cancel")):
        answer = await said(discord, "dreams", verb)
        assert word in text_of(answer)
        assert answer["flags"] & 64
    assert "ote" in text_of(await discord.answered(await discord.peer.press(result, "vote", who=AS_BOB)))
    voted = await said(discord, "dreams", "leaderboard", by="votes")
    assert job in text_of(voted)
    board = await said(discord, "dreams", "leaderboard")
    assert "a lemon" in text_of(board)
    assert not board["flags"] & 64
    assert job in await discord.peer.suggest("dreams", "again", "job", job[:2])
    assert await discord.peer.suggest("dream", None, "method", "se") == ["search"]
    assert await discord.peer.suggest("dream", None, "pack", "ti") == ["tiny"]


async def own_things(discord: DiscordHouse) -> None:
    """Own defaults, an export as a file, and a deletion that takes the pictures out of the message."""
    assert "60" in text_of(await said(discord, "dreams", "settings", candidates="60", pack="none"))
    export = await said(discord, "dreams", "export")
    assert export["flags"] & 64
    assert [one["filename"].endswith(".zip") for one in export["attachments"]] == [True]
    result = await discord.done(await discord.dream("a short-lived lemon", pack="tiny"))
    await discord.letters_closed()
    question = await discord.answered(await discord.peer.press(result, "delete"))
    assert question["flags"] & 64
    await discord.answered(await discord.peer.press(question, "erase"))
    await discord.peer.shown(lambda m: m["id"] == result["id"] and not m["attachments"] and bool(m["embeds"]))


async def steered(discord: DiscordHouse) -> None:
    """An admin pauses and resumes; others are refused in a sentence, and nothing happens."""
    refusal = await discord.answered(await discord.peer.command("dream-admin", "pause", who=AS_EVE))
    assert "for admins" in text_of(refusal)
    assert not (await discord.house.queue.flags())["paused"]
    assert "paused" in text_of(await said(discord, "dream-admin", "pause"))
    card = await discord.dream("a paused lemon", pack="tiny")
    assert "the queue is paused" in text_of(card)
    assert "hands out" in text_of(await said(discord, "dream-admin", "resume"))
    await discord.done(card)
    assert "pause" in text_of(await said(discord, "dream-admin", "audit"))


async def restarted(discord: DiscordHouse, result: Entry) -> None:
    """Buttons work after bot and engine were killed; the commands are not sent again."""
    for child in discord.house.children:
        child.kill()
        child.wait()
    await discord.start_bot()
    details = await discord.answered(await discord.peer.press(result, "show"))
    assert job_of(details) == job_named(result)
    assert details["attachments"]
    assert len([entry for entry in discord.peer.entries if entry["what"] == "commands"]) == 1


@pytest.mark.long
async def test_the_embedded_pack_on_discord(tmp_path: Path, tiny_folder: Path) -> None:
    """Anybody's dream by the shipped pack: progress, four pictures, their scores."""
    async with open_discord_house(tmp_path / "home", tiny_folder) as discord:
        await discord.start_bot()
        await discord.start_engine()
        card = await discord.dream("a photo of a lemon", keep=4, candidates=100, who=AS_EVE)
        result = await discord.done(card)
        assert len(result["attachments"]) == 4
        assert "clip 0." in text_of(result)
        assert await discord.peer.problems() == []


async def test_the_menu_of_a_message(discord: DiscordHouse) -> None:
    """ "Dream this" dreams what somebody wrote; an empty message is refused in a sentence."""
    await discord.start_engine("tests.fakes.engine")
    card = await discord.answered(await discord.peer.menu("Dream this", "a lemon at @everyone's table"))
    result = await discord.done(card)
    assert "@everyone" not in text_of(result)
    refusal = await discord.answered(await discord.peer.menu("Dream this", ""))
    assert "1 to 3,000 characters" in text_of(refusal)
    assert await discord.peer.problems() == []


async def test_a_picture_beside_the_words(discord: DiscordHouse) -> None:
    """An attachment becomes part of the target, by option or under "Dream this"; what is none is refused in words."""
    await discord.start_engine("tests.fakes.engine")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    picture = {"png": base64.b64encode(buffer.getvalue()).decode()}
    card = await discord.answered(await discord.peer.command("dream", prompt="a lemon", image=picture))
    stored = (await discord.house.job(job_named(card))).params.image
    assert stored is not None
    assert discord.house.images.path(stored).is_file()
    menu = await discord.peer.menu("Dream this", "a barn", picture=picture["png"])
    assert (await discord.house.job(job_named(await discord.answered(menu)))).params.image == stored
    noise = {"png": base64.b64encode(b"no picture").decode()}
    refusal = await discord.answered(await discord.peer.command("dream", prompt="a lemon", image=noise))
    assert "PNG, JPEG or WebP" in text_of(refusal)
