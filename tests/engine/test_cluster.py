"""The cluster without Ray: seats are kept, leases of the dead are given back, nothing starts without a token."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cluster.actor import EngineActor, engine_environ
from engine.cluster.controller import Controller
from engine.cluster.errors import ClusterLost, EngineLost
from engine.cluster.seat import Sitter
from engine.cluster.token import check_token
from storage.errors import StoreBroken, StoreBusy, UserError
from storage.job import Caller, Job, Params, Request, State
from storage.queue import Queue
from storage.rescue import Watch

TOKEN = "0123456789abcdef" * 2


class Nodes:
    """A placement in memory: seats open when the test says so, engines end when the test says so."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.holds: list[Hold] = []
        self.opened: asyncio.Queue[Hold] = asyncio.Queue()

    async def capacity(self) -> int:
        if self.room < 0:
            raise ClusterLost
        return self.room

    def open(self, number: int) -> Hold:
        self.holds.append(Hold(number, len(self.holds) + 1_000))
        self.opened.put_nowait(self.holds[-1])
        return self.holds[-1]


class Hold:
    """One engine that was asked for."""

    def __init__(self, number: int, pid: int) -> None:
        self.number, self.pid = number, pid
        self.placed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.asked, self.running, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def owner(self) -> str:
        return f"far:boot:{self.pid}:cafe"

    async def start(self) -> Sitter:
        self.asked.set()
        await self.placed
        return Sitter(node="127.0.0.3", host="far", boot="boot", pid=self.pid)

    async def wait(self) -> int:
        self.running.set()
        return await self.ended

    async def stop(self) -> None:
        self.stopped.set()


class Clock:
    """Sleeps that end at once; what an engine was waited for between two lives is remembered."""

    def __init__(self, state: Path | None = None) -> None:
        self.state = state
        self.told: list[dict[str, str]] = []
        self.waited: list[float] = []
        self.main: asyncio.Task[None] | None = None  # the controller's own, which only looks around

    async def sleep(self, seconds: float) -> None:
        if asyncio.current_task() is not self.main:
            self.waited.append(seconds)
            self.told += seats(self.state) if self.state else []
        await asyncio.sleep(0)


async def submit(queue: Queue, prompt: str) -> str:
    caller = Caller(user="ada", name="ada")
    return (await queue.submit(Request(caller=caller, params=Params(prompt=prompt, seed=7)))).id


async def job_state(queue: Queue, job_id: str) -> State:
    job = await queue.get(job_id)
    assert job is not None
    return job.state


async def test_a_lost_engine_gives_back_its_jobs_at_once_and_only_its_own(queue: Queue) -> None:
    """What the dead one held waits again; what its neighbour holds runs on; another engine is asked for."""
    nodes = Nodes(2)
    working = asyncio.create_task(Controller(nodes, queue).run())
    lost, well = await nodes.opened.get(), await nodes.opened.get()
    for hold in (lost, well):
        hold.placed.set_result(None)
    mine, other = await submit(queue, "a lemon"), await submit(queue, "a barn")
    assert [job.id for job in await queue.claim(lost.owner, 1)] == [mine]
    assert [job.id for job in await queue.claim(well.owner, 1)] == [other]
    lost.ended.set_exception(EngineLost("the actor died"))
    assert (await nodes.opened.get()).number == lost.number
    assert await job_state(queue, mine) is State.QUEUED
    assert await job_state(queue, other) is State.RUNNING
    assert lost.stopped.is_set()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await job_state(queue, other) is State.QUEUED  # it was told to stop, and is gone


async def test_it_backs_off_while_engines_do_not_live_and_says_so(queue: Queue, tmp_path: Path) -> None:
    """Waits double up to half a minute, and the file for `cluster status` tells why."""
    state = tmp_path / "seats.json"
    nodes, clock = Nodes(1), Clock(state)
    working = asyncio.create_task(Controller(nodes, queue, state=state, sleep=clock.sleep).run())
    clock.main = working
    told = []
    for _ in range(8):
        hold = await nodes.opened.get()
        await hold.asked.wait()
        (seat,) = seats(state)
        told.append((seat["state"], seat["why"]))
        hold.placed.set_exception(EngineLost("no such module"))
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert clock.waited[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert set(told) == {("waits", "no node is free")}
    assert {(seat["state"], seat["why"]) for seat in clock.told} == {("backs off", "no such module")}


def seats(state: Path) -> list[dict[str, str]]:
    """What the file tells."""
    told: list[dict[str, str]] = json.loads(state.read_text())
    return told


async def test_a_seat_whose_node_left_is_no_longer_waited_for(queue: Queue) -> None:
    """With fewer nodes, engines that have no place are not asked for; one that runs is left alone."""
    nodes, clock = Nodes(2), Clock()
    working = asyncio.create_task(Controller(nodes, queue, sleep=clock.sleep).run())
    runs, waits = await nodes.opened.get(), await nodes.opened.get()
    runs.placed.set_result(None)
    await runs.running.wait()
    nodes.room = 0
    await waits.stopped.wait()
    assert not runs.stopped.is_set()
    nodes.room = -1  # and without a cluster the controller ends, to be started again
    with pytest.raises(ClusterLost):
        await working


async def test_a_broken_store_ends_the_controller(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not to be trusted any more, and a new process looks at it afresh; a busy one is asked again."""
    nodes, clock, answers = Nodes(1), Clock(), [StoreBusy(), StoreBroken()]

    async def rescue(watch: Watch) -> list[Job]:
        raise answers.pop(0)

    monkeypatch.setattr(queue, "rescue", rescue)
    working = asyncio.create_task(Controller(nodes, queue, sleep=clock.sleep).run())
    hold = await nodes.opened.get()
    hold.placed.set_result(None)
    hold.ended.set_result(1)
    with pytest.raises(StoreBroken):
        await working
    assert answers == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"RAY_AUTH_TOKEN": TOKEN},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": TOKEN},
        {"RAY_AUTH_MODE": "token"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "short"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere"},
    ],
)
def test_without_a_token_it_refuses_in_one_sentence(environ: dict[str, str]) -> None:
    """No token, no mode, too short, no file: one sentence that names what is wanted, and never the token."""
    with pytest.raises(UserError) as told:
        check_token(environ)
    assert "RAY_AUTH" in str(told.value)
    assert "\n" not in str(told.value)
    assert TOKEN not in str(told.value)


def test_a_token_in_the_environment_or_in_a_file_will_do(tmp_path: Path) -> None:
    """Both of Ray's ways."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    check_token({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN})
    check_token({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)})


def test_two_engines_on_one_host_share_neither_device_lock_nor_port() -> None:
    """Each has its slot and its port; an engine of cores keeps to them, one with a GPU has what Ray shows it."""
    shown = {"CUDA_VISIBLE_DEVICES": "3", "DREAMBOT_ENGINE_PORT": "9472"}
    assert engine_environ(shown, 1, 0) == {"DREAMBOT_SLOT": "gpu3", "DREAMBOT_ENGINE_PORT": "9473"}
    assert engine_environ({"CUDA_VISIBLE_DEVICES": ""}, 2, 4) == {"DREAMBOT_SLOT": "seat2", "DREAMBOT_THREADS": "4"}


async def test_the_actor_runs_an_engine_and_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says who the engine is, how it ended, and drains it when told."""
    monkeypatch.setenv("DREAMBOT_HOME", str(tmp_path))
    for name in ("DREAMBOT_SLOT", "DREAMBOT_THREADS"):
        monkeypatch.setenv(name, "")  # so that what the actor sets is taken back
    monkeypatch.setenv("DREAMBOT_CLUSTER_ENGINE", f"{sys.executable} -c 'import time; time.sleep(60)'")
    actor = EngineActor(0, "here", 1)
    sitter = await actor.start()
    assert sitter.owns(f"{sitter.host}:{sitter.boot}:{sitter.pid}:abcd")
    assert not sitter.owns(f"{sitter.host}:{sitter.boot}:{sitter.pid}1:abcd")
    waiting = asyncio.create_task(actor.wait())
    assert await actor.stop() == await waiting == -15


def test_up_refuses_before_anything_runs(tmp_path: Path) -> None:
    """`dreambot cluster up` without a token: one sentence, exit status 2, no process and no file left."""
    bare = {"PATH": "/usr/bin:/bin", "DREAMBOT_HOME": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-m", "bot.cli", "cluster", "up"]
    told = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert "RAY_AUTH_MODE=token" in told.stderr
    assert list(tmp_path.iterdir()) == []
