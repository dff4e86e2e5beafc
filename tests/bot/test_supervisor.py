"""The supervisor: restarts, forwards, leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bot.supervisor import Backoff, Supervisor
from storage.rescue import pid_alive

SLEEP = (sys.executable, "-S", "-c", "import signal; signal.pause()")


class Starts:
    """Remembers each start and lets a test wait for the next."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def __call__(self, name: str, pid: int) -> None:
        self.queue.put_nowait((name, pid))


def test_the_wait_doubles_and_is_forgotten() -> None:
    """0.2 s, doubling to 5 s, and 0.2 s again after 30 s of life."""
    backoff, wait, waits = Backoff(), 0.0, []
    for lived in (1, 1, 1, 1, 1, 1, 1, 31):
        wait = backoff.after(wait, lived)
        waits.append(wait)
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.2]


async def test_a_dead_child_is_started_again() -> None:
    """kill -9 of a child is followed by a new one with another process id."""
    starts = Starts()
    supervisor = Supervisor({"a": SLEEP}, backoff=Backoff(first_s=0.001), on_start=starts)
    running = asyncio.create_task(supervisor.run())
    _, first = await starts.queue.get()
    os.kill(first, signal.SIGKILL)
    _, second = await starts.queue.get()
    assert second != first
    supervisor.stop()
    await running
    assert not pid_alive(second)


async def test_sigterm_ends_every_child_and_then_us(tmp_path: Path) -> None:
    """SIGTERM to the supervisor reaches the children; it returns when they are down."""
    starts = Starts()
    supervisor = Supervisor({"a": SLEEP, "b": SLEEP}, on_start=starts)
    running = asyncio.create_task(supervisor.run())
    pids = [(await starts.queue.get())[1], (await starts.queue.get())[1]]
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert not any(pid_alive(pid) for pid in pids)


async def test_a_deaf_child_is_killed_after_the_grace() -> None:
    """A child that ignores SIGTERM does not hold the supervisor for ever."""
    starts = Starts()
    deaf = (sys.executable, "-S", "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()")
    supervisor = Supervisor({"a": deaf}, grace_s=0.05, on_start=starts)
    running = asyncio.create_task(supervisor.run())
    _, pid = await starts.queue.get()
    supervisor.stop()
    await running
    assert not pid_alive(pid)


ENDS = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(float(sys.argv[3]))
    with open(sys.argv[2], "a") as log: log.write(sys.argv[1])
    sys.exit()
signal.signal(15, end)
pathlib.Path(sys.argv[2] + sys.argv[1]).write_text("ready")
signal.pause()
"""


async def test_the_last_child_is_told_when_the_others_have_ended(tmp_path: Path) -> None:
    """A node stays until the engines on it have drained, however long they take and whatever it is called."""
    log = tmp_path / "log"
    for name in "ab":
        os.mkfifo(f"{log}{name}")
    commands = {n: (sys.executable, "-S", "-c", ENDS, n, str(log), pause) for n, pause in (("a", "0"), ("b", "0.3"))}
    supervisor = Supervisor(commands, last="a")
    running = asyncio.create_task(supervisor.run())
    for name in "ab":
        await asyncio.to_thread(Path(f"{log}{name}").read_text)
    supervisor.stop()
    await running
    assert await asyncio.to_thread(log.read_text) == "ba"


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is Linux's prctl")
async def test_children_die_with_a_killed_supervisor() -> None:
    """kill -9 of the supervisor ends its children as well."""
    script = (
        "import asyncio,sys;from bot.supervisor import Supervisor;"
        f"asyncio.run(Supervisor({{'a': {SLEEP!r}}}, on_start=lambda n, p: print(p, flush=True)).run())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    child = int(await process.stdout.readline())
    watch = os.pidfd_open(child)
    process.kill()
    await process.wait()
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watch, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), 10)
    finally:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)
