"""Canaries in the configuration: whatever breaks, at DEBUG, they are in no log, answer, metric, database or file."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bot.absence import Absence
from bot.adapter import Adapter
from bot.cards import Card
from bot.delivery import Delivery
from bot.doctor import examine
from bot.house import House
from bot.metrics import Metrics
from bot.settings import BotSettings
from bot.store import Store, open_store
from storage import logs
from storage.database import sqlite_connection
from storage.errors import UserError
from storage.queue import Queue
from tests.factories import make_caller, make_params, make_request, make_result
from tests.fakes.discord.world import TOKEN
from tests.fakes.slack.workspace import APP_TOKEN, BOT_TOKEN
from tests.scenarios.full_house import ENGINE, open_full_house

CANARIES = {
    "discord_token": "MTcanaryDISCORD" + "a" * 12 + ".abcdef." + "b" * 30,
    "slack_bot_token": "xoxb-canary-0123456789-abcdef",
    "slack_app_token": "xapp-canary-0123456789-abcdef",
    "slack_signing_secret": "canary0123456789abcdef0123456789",
    "slack_client_secret": "canaryfedcba9876543210",
}
PROMPT = "a canary prompt that is private"


@pytest.fixture
def settings(tmp_path: Path) -> BotSettings:
    """Half of the secrets from the environment, half from files."""
    environ = {"DREAMBOT_HOME": str(tmp_path / "home"), "DREAMBOT_LOG_LEVEL": "DEBUG"}
    for number, (name, value) in enumerate(CANARIES.items()):
        if number % 2:
            (tmp_path / name).write_text(value + "\n")
            environ[f"DREAMBOT_{name.upper()}_FILE"] = str(tmp_path / name)
        else:
            environ[f"DREAMBOT_{name.upper()}"] = value
    return BotSettings.load(environ)


@pytest.fixture
def written(settings: BotSettings) -> Iterator[io.StringIO]:
    """All that is logged, at DEBUG."""
    stream, root = io.StringIO(), logging.getLogger()
    level = root.level
    handler = logs.set_up("DEBUG", as_json=False, secrets=settings.secrets(), to=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


class Wild(Exception):
    """An error that says everything it knows."""

    def __init__(self) -> None:
        super().__init__(f"{CANARIES} {PROMPT}")


class Broken:
    """A surface on which nothing works."""

    surface = "local"

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """Fails, and tells why."""
        raise Wild

    edit = replace = post


def found(text: str) -> list[str]:
    """The canaries that a text holds."""
    return [name for name, value in CANARIES.items() if value in text]


async def test_no_secret_anywhere(
    settings: BotSettings, written: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, gestures, admin, delivery, doctor and the settings themselves are made to fail; no canary is seen."""
    told: list[str] = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    async with open_store(settings) as store:
        house, caller = House.of(store), replace(make_caller(), admin=True)
        await store.queue.submit(make_request(reply_to="here", params=make_params(PROMPT)))
        (job,) = await store.queue.claim("engine", 1)
        await store.queue.progress(job, 1, 2, None, None)
        await store.queue.complete(job, make_result())
        await Delivery(store, {"local": _broken()}).send()
        told += [metric async for metric in measured(store)]
        with monkeypatch.context() as patch:
            for name in ("submit", "get", "cancel", "pause", "flags", "history", "waiting", "running"):
                patch.setattr(Queue, name, _wild)
            for line in (f"/dream {PROMPT}", "/show abc234", "/cancel abc234", "/admin pause", "/history", "/queue"):
                told.append(json.dumps(asdict(await house.phrases.answer(caller, line, reply_to="here"))))
            pressed = await house.gestures.press(caller, f"v1:again:{job.id}", reply_to="here")
            told.append(json.dumps(asdict(pressed)))
        Absence(store)
    await asyncio.to_thread(examine, json=True)
    told += [written.getvalue(), *capsys.readouterr(), *await asyncio.to_thread(kept, settings.home)]
    assert [found(text) for text in told if found(text)] == []
    assert "incident" in written.getvalue()  # it did break, and was logged
    assert logs.BLACK in written.getvalue()


def _broken() -> Adapter:
    made: Adapter = Broken()  # type: ignore[assignment]
    return made


async def _wild(*_: object, **__: object) -> None:
    raise Wild


async def measured(store: Store) -> object:
    """The metrics' text."""
    metrics = Metrics(store)
    await metrics.look()
    yield metrics.text()


def kept(home: Path) -> list[str]:
    """Every file of the home as it is, and every database as SQL."""
    texts = [path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file()]
    for path in home.glob("*.db"):
        with sqlite_connection(path) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                texts.append(str(connection.execute(f'SELECT * FROM "{table}"').fetchall()))
    return texts


@pytest.mark.parametrize("name", CANARIES)
def test_a_wrong_setting_beside_a_secret_says_no_secret(name: str) -> None:
    """The sentence names the setting that is wrong, and shows none of the others."""
    with pytest.raises(UserError) as refusal:
        BotSettings.load({f"DREAMBOT_{name.upper()}": CANARIES[name], "DREAMBOT_ROOM": "many"})
    assert found(str(refusal.value)) == []
    assert "DREAMBOT_ROOM" in str(refusal.value)


@pytest.mark.long
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_the_real_libraries_at_debug(tmp_path: Path, log_format: str) -> None:
    """discord.py and slack_bolt on both peers, with lost answers: their own lines hold no token, ours no prompt."""
    environ = {"DREAMBOT_LOG_LEVEL": "DEBUG", "DREAMBOT_LOG_FORMAT": log_format}
    async with open_full_house(tmp_path / "home", **environ) as full:
        full.house.start_engine("bot")
        full.house.start_engine(ENGINE)
        await full.discord.ready()
        await full.discord.fault("edit_original", "after", status=502)
        over = asyncio.Event()
        clocks = asyncio.create_task(full.clocks(over))
        await full.ask_discord(PROMPT)
        await full.ask_slack(PROMPT)
        async with asyncio.timeout(full.house.patience_s):
            while len(await full.finals()) < 2:
                await full.house.feed.changed(0.5)
        over.set()
        await clocks
        written = (full.house.settings.home / "processes.log").read_text(encoding="utf-8")
        texts = [written, *await asyncio.to_thread(kept, full.house.settings.home)]
    for secret in (TOKEN, BOT_TOKEN, APP_TOKEN):
        assert [text for text in texts if secret in text] == []
    assert "DEBUG" in written


async def test_no_prompt_at_info(settings: BotSettings, written: io.StringIO) -> None:
    """A dream's whole life leaves no word of it in the log at INFO and above."""
    logging.getLogger().setLevel("INFO")
    async with open_store(settings) as store:
        house = House.of(store)
        await house.phrases.answer(make_caller(), f"/dream {PROMPT}", reply_to="here")
        (job,) = await store.queue.claim("engine", 1)
        await store.queue.complete(job, make_result())
        await Delivery(store, {"local": _broken()}).send()
    lines = written.getvalue().splitlines()
    assert any("was not sent" in line for line in lines)
    assert [line for line in lines if PROMPT in line and "Wild" not in line] == []
