"""Two platforms in one bot process: what one refuses is told once, and the other goes on. And several shards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.fakes.discord.peer import ADA, open_peer, text_of
from tests.fakes.discord.world import GUILD, TOKEN
from tests.fakes.slack.workspace import BOT_TOKEN
from tests.scenarios.discord_house import job_named, open_discord_house
from tests.scenarios.house import House
from tests.scenarios.slack import free_port, scene

NOT_SERVED = "is not served until that is mended"


async def told(house: House) -> list[str]:
    """What the processes said of surfaces that are not served, once there is something."""
    async with asyncio.timeout(house.patience_s):
        while True:
            log = (house.settings.home / "processes.log").read_text(encoding="utf-8")
            if found := [line for line in log.splitlines() if NOT_SERVED in line]:
                return found
            await house.feed.changed(0.2)


async def unready(house: House) -> str:
    """What `/ready` says."""
    port = house.environ["DREAMBOT_BOT_PORT"]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/ready") as answer:
        return await answer.text()


async def test_a_wrong_discord_token_leaves_slack_alone(tmp_path: Path, tiny_folder: Path) -> None:
    """The log says it once, `/ready` says it, and people on Slack are served."""
    async with open_peer() as peer:
        wrong = {"DREAMBOT_DISCORD_TOKEN": "wrong.wrong.wrong", "DREAMBOT_DISCORD_API": peer.base}
        port = {"DREAMBOT_BOT_PORT": str(free_port())}
        async with scene(tmp_path / "home", tiny_folder, **wrong, **port) as play:
            await play.start_bot()
            play.house.start_engine("tests.fakes.engine")
            await play.dreamt("a lemon")
            (line,) = await told(play.house)
            assert "DREAMBOT_DISCORD_TOKEN" in line
            assert "discord is not served" in await unready(play.house)


async def test_a_wrong_slack_token_leaves_discord_alone(tmp_path: Path, tiny_folder: Path) -> None:
    """The one for Socket Mode, with which slack_sdk would go on asking for ever: told once, and Discord is served."""
    async with scene(tmp_path / "unused", tiny_folder) as slack:
        tokens = {"DREAMBOT_SLACK_BOT_TOKEN": BOT_TOKEN, "DREAMBOT_SLACK_APP_TOKEN": "xapp-wrong"}
        tokens |= {"DREAMBOT_SLACK_API_URL": slack.slack.api}
        async with open_discord_house(tmp_path / "home", tiny_folder, **tokens) as play:
            await play.start_bot()
            play.house.start_engine("tests.fakes.engine")
            card = await play.answered(await play.peer.command("dream", prompt="a lemon"))
            assert "a lemon" in text_of(await play.done(card))
            (line,) = await told(play.house)
            assert "DREAMBOT_SLACK_APP_TOKEN" in line


async def test_two_shards(tmp_path: Path, tiny_folder: Path) -> None:
    """Each guild's people are heard by its own connection; buttons and final replies go to the right channels."""
    elsewhere, room = str(int(GUILD) + (1 << 22)), "200000000000000009"
    assert (int(GUILD) >> 22) % 2 != (int(elsewhere) >> 22) % 2
    shards = {"DREAMBOT_DISCORD_SHARDS": "2", "DREAMBOT_DISCORD_TOKEN": TOKEN}
    async with open_discord_house(tmp_path / "home", tiny_folder, **shards) as play:
        await play.peer.control("application", guilds={GUILD: "Here", elsewhere: "Elsewhere"})
        await play.peer.control("channel", id=room, guild=elsewhere)
        await play.start_bot()
        await play.peer.until(lambda entry: entry["what"] == "ready" and entry["shard"] == [1, 2])
        play.house.start_engine("tests.fakes.engine")
        for channel in (None, room):
            who = {"user": ADA} | ({} if channel is None else {"channel": channel})
            card = await play.answered(await play.peer.command("dream", prompt="a lemon", who=who))
            result = await play.done(card)
            assert result["channel_id"] == card["channel_id"]
            other = await play.done(await play.answered(await play.peer.press(result, "anew", who=who)))
            job = await play.house.job(job_named(other))
            assert job.parent == job_named(result)
            assert job.caller.guild == (GUILD if channel is None else elsewhere)
        ready = [entry["shard"] for entry in play.peer.entries if entry["what"] == "ready"]
        assert sorted(ready) == [[0, 2], [1, 2]]
        assert await play.peer.problems() == []
