"""A day on Slack: the real slack_bolt and slack_sdk, the real store, a real engine, and a peer that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.slack import driver
from tests.fakes.slack.driver import Entry
from tests.fakes.slack.workspace import BEN, GENERAL
from tests.scenarios.slack import TINY, Scene, scene

ONE_AT_A_TIME = {"DREAMBOT_ROOM": "1", "DREAMBOT_CAP": "1"}


@pytest.mark.parametrize("http", [False, pytest.param(True, marks=pytest.mark.long)], ids=["socket", "http"])
async def test_a_day_on_slack(tmp_path: Path, tiny_folder: Path, http: bool) -> None:
    """Dream, wait, watch, again, vary, re-rank, vote, look, steer, cancel, restart: each answer where it belongs."""
    async with scene(tmp_path / "home", tiny_folder, http=http, **ONE_AT_A_TIME) as play:
        await play.start_bot()
        play.house.start_engine()
        await play.house.engine_ready()
        first = await queued_in_order(play)
        result = await watched(play, first)
        await repeated(play, result)
        await looked_up(play, result)
        await steered(play)
        await restarted(play, result)
        assert set((await play.final_messages()).values()) == {1}


async def queued_in_order(play: Scene) -> Entry:
    """One runs, two wait and are told their places; both a waiting and a running one are cancelled, by their owner."""
    running = await play.queued("a goldfish --pack tiny --candidates 10000")
    progress = await play.until_says(running, " of 10000")
    assert driver.pictures(progress["message"])
    first = await play.queued("a lemon --pack tiny --candidates 400 --keep 2 --seed 7")
    assert "#1" in text(first)
    second = await play.queued(f"a barn {TINY}")
    assert "#2" in text(second)
    assert verbs(second) == {"cancel"}
    refused = await play.answered(play.slack.press(running, "cancel", user=BEN))
    assert "somebody else's" in text(refused)
    await play.slack.press(second, "cancel")
    await play.until_says(second, "Cancelled")
    await play.slack.press(running, "cancel")
    await play.until_says(running, "Cancelled")
    return first


async def watched(play: Scene, card: Entry) -> Entry:
    """The result with its buttons, in the message that told the place."""
    result = await play.result(card["n"])
    assert (result["channel"], result["ts"]) == (GENERAL, card["ts"])
    shown = driver.pictures(result["message"])
    assert len(shown) == 2
    assert {"anew", "vary", "rerank", "edit", "show", "vote", "delete"} <= verbs(result)
    assert (await play.slack.picture(shown[0])).startswith(b"\x89PNG")
    return result


async def repeated(play: Scene, result: Entry) -> None:
    """Again is identical; a new seed, a variation, a re-rank and an edited prompt are dreams with a parent."""
    job = job_of(result)
    again = await play.dreamt(f"again {job}")
    assert f"Identical to {job}" in text(again)
    for verb in ("anew", "vary"):
        since = await play.slack.mark()
        await play.slack.press(result, verb)
        assert (await play.house.job(job_of(await play.result(since)))).parent == job
    reranked = await play.filled_in(result, "rerank", {"prompt": "a teapot", "by": "judge"})
    assert "rerank by judge" in text(reranked)
    edited = await play.filled_in(result, "edit", {"prompt": "a lion", "seed": ""})
    assert "a lion" in text(edited)
    voted = await play.answered(play.slack.press(result, "vote", user=BEN))
    assert "ote" in text(voted)


async def looked_up(play: Scene, result: Entry) -> None:
    """Details, queue, history and help for the asker's eyes only; the leaderboard for everybody."""
    job = job_of(result)
    details = await play.answered(play.slack.press(result, "show", user=BEN))
    assert job in text(details)
    for verb, word in (("queue", "Nothing waits"), ("history", job), ("help", "cancel")):
        body = (await play.slack.slash(verb))["body"]
        assert body["response_type"] == "ephemeral"
        assert word in str(body)
    since = await play.slack.mark()
    await play.slack.slash("leaderboard")
    board = await play.slack.until(lambda entry: entry["kind"] == "post", since)
    assert "a lemon" in text(board)


async def steered(play: Scene) -> None:
    """An admin pauses and resumes; others are refused in a sentence, and nothing happens."""
    refused = await play.slack.slash("pause", user=BEN, command="/dream-admin")
    assert "for admins" in str(refused["body"])
    assert "paused" in str((await play.slack.slash("pause", command="/dream-admin"))["body"])
    card = await play.queued(f"a paused lemon {TINY}")
    assert "the queue is paused" in text(card)
    await play.slack.slash("resume", command="/dream-admin")
    assert (await play.result(card["n"]))["ts"] == card["ts"]
    assert "resume" in str((await play.slack.slash("audit", command="/dream-admin"))["body"])


async def restarted(play: Scene, result: Entry) -> None:
    """Buttons work after bot and engine were killed; what was asked for before is answered after, once."""
    for child in play.house.children:
        child.kill()
        child.wait()
    await play.start_bot()
    details = await play.answered(play.slack.press(result, "show"))
    assert job_of(result) in text(details)
    card = await play.queued(f"a barn {TINY}")
    since = await play.slack.mark()
    play.house.start_engine()
    assert (await play.result(since))["ts"] == card["ts"]


@pytest.mark.long
async def test_the_embedded_pack_on_slack(tmp_path: Path, tiny_folder: Path) -> None:
    """Anybody's dream by the shipped pack, asked for by a mention: four pictures in its thread."""
    async with scene(tmp_path / "home", tiny_folder) as play:
        await play.start_bot()
        play.house.start_engine()
        await play.house.engine_ready()
        said = await play.slack.mention("<@U0DREAMBOT> a photo of a lemon", user=BEN)
        result = await play.result(0)
        assert result["message"]["thread_ts"] == said["ts"]
        assert len(driver.pictures(result["message"])) == 4
        assert "lemon" in text(result)


def text(entry: Entry) -> str:
    """Everything that a message says."""
    return str(entry["message"])


def verbs(entry: Entry) -> set[str]:
    """What can be pressed under a message."""
    return {name.split(":")[1] for name in driver.buttons(entry["message"])}


def job_of(entry: Entry) -> str:
    """The job that a message is about."""
    return next(name.rpartition(":")[2] for name in driver.buttons(entry["message"]))
