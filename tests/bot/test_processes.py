"""The bot as a process, and a terminal that is interrupted; the engine is the fake one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot import own_engine
from bot.absence import Absence
from bot.commands import Commands
from bot.local_adapter import address
from bot.own_engine import EngineDown, OwnEngine
from bot.store import Store
from storage.events import FINAL_KINDS, Event, Kind
from storage.job import State
from tests.bot.test_commands import ADA, dream, step
from tests.fakes.engine import FakeEngine

PATIENCE_S = 60.0  # far beyond what anything here takes: a hang is a failure, not a wait
FAKE = (sys.executable, "-m", "tests.fakes.engine")


async def start(*words: str, **pipes: Any) -> asyncio.subprocess.Process:
    """A Python program at the test's home."""
    environ = os.environ | {"DREAMBOT_MAX_STRIKES": "1"}
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE} | pipes
    return await asyncio.create_subprocess_exec(sys.executable, "-m", *words, env=environ, **pipes)


async def happens(store: Store, cursor: int, wanted: Callable[[Event], bool]) -> Event:
    """The first such event after the cursor."""
    async with asyncio.timeout(PATIENCE_S):
        async for events in store.feed.follow(cursor):
            for event in events:
                if wanted(event):
                    return event
    raise AssertionError


async def ended(process: asyncio.subprocess.Process, typed: bytes | None = None) -> tuple[str, str]:
    """What a process printed, once it is over."""
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(typed)
    return out.decode(), err.decode()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_who_interrupts_a_dream_takes_it_back(store: Store, number: signal.Signals, status: int) -> None:
    """Ctrl-C cancels the running job, says so, and leaves neither job nor engine behind."""
    cursor = await store.feed.head()
    terminal = await start("bot.cli", "dream", "hold on", "--engine", " ".join(FAKE))
    event = await happens(store, cursor, lambda event: event.kind is Kind.STARTED)
    terminal.send_signal(number)
    _, err = await ended(terminal)
    assert terminal.returncode == status
    assert f"Job {event.job} is cancelled." in err
    assert (await Commands(store).job(str(event.job))).state is State.CANCELLED
    assert not await store.engines.alive(store.settings.silent_s)


async def test_a_dream_that_kills_its_engine_is_told_so(store: Store) -> None:
    """The engine is started again while the job is unfinished; the store gives the job up, and the JSON says why."""
    terminal = await start("bot.cli", "dream", "crash now", "--json", "--engine", " ".join(FAKE))
    out, _ = await ended(terminal)
    assert terminal.returncode == 1
    assert '"reason": "crashed"' in out


async def test_a_piped_chat_waits_for_its_answers(store: Store) -> None:
    """The end of the input is not the end of the dreams."""
    terminal = await start("bot.cli", "chat", "--engine", " ".join(FAKE), stdin=asyncio.subprocess.PIPE)
    out, err = await ended(terminal, b"/dream a lemon --seed 4\n/nosuch\n")
    assert (terminal.returncode, err) == (0, "")
    assert "0.500" in out
    assert "/leaderboard" in out


async def test_the_bot_process_delivers_and_ends_well(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """`python -m bot` puts the reply into the mailbox, and SIGTERM ends it with status 0."""
    name = await dream(commands, reply_to=address(ADA))
    await step(engine)
    bot = await start("bot")
    async with asyncio.timeout(PATIENCE_S):
        while await store.outbox.unsent(("local",)):
            await store.feed.changed(5)
    assert (store.settings.home / "mail/local/ada" / f"{name}.json").is_file()
    bot.terminate()
    await ended(bot)
    assert bot.returncode == 0


async def test_an_engine_of_our_own_is_measured_and_ended(store: Store, commands: Commands) -> None:
    """From spawn to ready; none is left when we leave."""
    cursor = await store.feed.head()
    name = await dream(commands)
    async with OwnEngine(store, FAKE) as own:
        keeper = asyncio.create_task(own.keep())
        own.see(await happens(store, cursor, lambda event: event.kind is Kind.ENGINE_READY))
        await happens(store, cursor, lambda event: event.job == name and event.kind in FINAL_KINDS)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        assert 0 < own.start_seconds < 60
    assert not await store.engines.alive(store.settings.silent_s)


async def test_a_living_engine_is_not_doubled(store: Store, tmp_path: Path) -> None:
    """Where one beats, none is started."""
    running = await start("tests.fakes.engine", stdout=None, stderr=None)
    await happens(store, 0, lambda event: event.kind is Kind.ENGINE_READY)
    mark = tmp_path / "started"
    async with OwnEngine(store, ("touch", str(mark))) as own:
        keeper = asyncio.create_task(own.keep())
        name = await dream(Commands(store))
        await happens(store, 0, lambda event: event.job == name and event.kind in FINAL_KINDS)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    assert not mark.exists()
    running.terminate()
    await running.wait()


async def test_an_engine_that_never_starts_is_given_up(store: Store) -> None:
    """After three deaths the sentence names the log."""
    async with OwnEngine(store, (sys.executable, "-S", "-c", "raise SystemExit('no device')")) as own:
        with pytest.raises(EngineDown, match=r"engine\.log"):
            await own.keep()
    assert "no device" in (store.settings.home / "engine.log").read_text()


async def test_an_engine_that_is_starting_elsewhere_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 3 says that another engine has the device: that is no failure, however often it is said."""
    monkeypatch.setattr(own_engine, "LOOK_S", 0.001)
    monkeypatch.setattr(own_engine, "LONGEST_WAIT_S", 0.001)
    starts: asyncio.Queue[str] = asyncio.Queue()
    command = (sys.executable, "-S", "-c", "raise SystemExit(3)")
    async with OwnEngine(store, command, told=starts.put_nowait) as own:
        keeper = asyncio.create_task(own.keep())
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(own_engine.MOST_STARTS + 2):
                await starts.get()
        assert not keeper.done()
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def test_an_absent_engine_is_told_once(store: Store) -> None:
    """After ten seconds, once; and once when it is back."""
    told: list[str] = []
    now = [0.0]
    absence = Absence(store, tell=told.append, clock=lambda: now[0])
    for now[0] in (5.0, 10.0, 11.0, 30.0):
        await absence.look()
    assert len(told) == 1
    running = await start("tests.fakes.engine", stdout=None, stderr=None)
    await happens(store, 0, lambda event: event.kind is Kind.ENGINE_READY)
    await absence.look()
    await absence.look()
    assert len(told) == 2
    running.terminate()
    await running.wait()
