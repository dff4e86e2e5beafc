"""`dreambot cluster`: keeps this host's part of a cluster, tells how it is, and ends what it started, by process id.

Knows the command lines of `python -m engine.cluster` and how to keep them. Never imports Ray: its driver is killed with
the head, and the bot must not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from bot.settings import BotSettings
from bot.store import open_store
from bot.supervisor import Supervisor
from storage import logs
from storage.errors import UserError

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "engine.cluster")
SEATS = "cluster-seats.json"  # written by the controller
GRACE_S = 60.0  # engines drain, then their node goes
END_S = 90.0


def up(*, join: str | None, address: str | None, port: int, cores: int | None, engines: int, cpus: int) -> int:
    """Until SIGTERM or Ctrl-C. Exit status 2 without a token or with a wrong one, UserError where it runs already."""
    settings = BotSettings.load()
    logs.set_up(settings.log_level, as_json=settings.log_format == "json", secrets=settings.secrets())
    here = _words(join=join, address=address)
    if status := subprocess.run([*PROGRAM, "check", *here], check=False).returncode:
        return status
    node = [*here, *_words(cores=cores)]
    commands: dict[str, Sequence[str]] = {"node": (*PROGRAM, "node", *node, *([] if join else _words(port=port)))}
    if join is None:
        control = _words(address=address, port=port, engines=engines, cpus=cpus)
        commands["controller"] = (*PROGRAM, "controller", *control)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _held(_pid_file(settings.home, address)):
        asyncio.run(Supervisor(commands, grace_s=GRACE_S, last="node").run())
    return 0


def _words(**options: object) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


def _pid_file(home: Path, address: str | None) -> Path:
    return home / f"cluster-{address or 'here'}.pid"


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Our process id, in a file that is locked for as long as we live, however we end."""
    with path.open("a+") as file:
        if not _lock(file):
            raise UserError(f"A cluster's part runs here already ({path}); `dreambot cluster down` ends it.")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(home: Path) -> dict[Path, int]:
    """The processes that hold their file's lock: no process id that was used again is among them."""
    found = {}
    for path in sorted(home.glob("cluster-*.pid")):
        with path.open("r+") as file:
            if not _lock(file) and (text := file.read().strip()):
                found[path] = int(text)
    return found


def down() -> int:
    """End what `up` started here, and nothing else; returns when it has ended. Exit status 1 if it does not."""
    home = BotSettings.load().home
    handles = [os.pidfd_open(pid) for pid in _running(home).values()]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    ended = sum(_ends(handle) for handle in handles)
    print(f"{ended} of {len(handles)} ended." if handles else "Nothing of a cluster runs here.")  # noqa: T201
    return 0 if ended == len(handles) else 1


def _ends(handle: int) -> bool:
    """Whether a process ends in time; its handle can be read when it has."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(END_S * 1000))


def status(*, json_: bool) -> int:
    """What runs here, every seat, and the engines that beat with what they work at. Exit status 1 if none beats."""
    settings = BotSettings.load()
    told = asyncio.run(_status(settings))
    if json_:
        print(json.dumps(told))  # noqa: T201
    else:
        for line in _lines(told):
            print(line)  # noqa: T201
    return 0 if told["engines"] else 1


async def _status(settings: BotSettings) -> dict[str, Any]:
    async with open_store(settings) as store:
        engines = await store.engines.alive(settings.silent_s)
        running = await store.queue.running()
    file = settings.home / SEATS
    return {
        "here": list(_running(settings.home).values()),
        "seats": json.loads(file.read_text(encoding="utf-8")) if file.exists() else [],
        "engines": [
            {"host": one.host, "pid": one.pid, "device": one.device, "packs": list(one.packs)}
            | {"jobs": [job.id for job in running if job.owner == one.owner]}
            for one in engines
        ],
    }


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"processes here: {', '.join(map(str, told['here'])) or 'none'}"
    for seat in told["seats"]:
        where = f" on {seat['node']} as {seat['pid']}" if "pid" in seat else f" ({seat['why']})"
        yield f"seat {seat['seat']} {seat['state']}{where}"
    for one in told["engines"]:
        yield f"engine {one['host']}/{one['pid']} {one['device']}: {', '.join(one['jobs']) or 'idle'}"
    if not told["engines"]:
        yield "The engine is offline: no engine beats; dreams wait."
