"""Slack, from the slash command to the picture: real slack_bolt, real store, real engine, and a peer that refuses."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.slack import driver
from tests.fakes.slack.workspace import GENERAL
from tests.scenarios.slack import TINY, scene


async def test_a_dream_is_acknowledged_shown_and_answered_with_pictures(tmp_path: Path, tiny_folder: Path) -> None:
    """/dream is acknowledged without words, has a message with its place, and that message becomes the result."""
    async with scene(tmp_path / "home", tiny_folder) as play:
        await play.start_bot()
        play.house.start_engine()
        await play.house.engine_ready()
        paused = await play.slack.slash("pause", command="/dream-admin")
        assert "The queue is paused" in paused["body"]["text"]
        ack = await play.slack.slash(f"a lemon {TINY}")
        assert ack == {"acked": True, "body": None, "status": None}
        queued = await play.slack.until(lambda entry: entry["kind"] == "post")
        assert "queued; the queue is paused" in queued["message"]["text"]
        await play.slack.slash("resume", command="/dream-admin")
        result = await play.result(0)
        assert (result["channel"], result["ts"]) == (GENERAL, queued["ts"])
        assert len(driver.pictures(result["message"])) == 2
        assert await play.final_messages() == {_job(result): 1}


def _job(entry: driver.Entry) -> str:
    return next(name.rpartition(":")[2] for name in driver.buttons(entry["message"]))
