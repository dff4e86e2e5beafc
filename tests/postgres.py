"""A PostgreSQL server of the tests' own: a data directory of its own, any free port of 127.0.0.1, gone with the tests.

Debian's binaries are found where Debian puts them. PostgreSQL refuses to run as root, so as root it runs as `postgres`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from storage.migrations import upgrade
from storage.settings import StoreSettings

T = TypeVar("T")
SERVER_USER = "postgres"
TEMPLATE = "empty"
PATIENCE_S = 60.0


def binaries() -> Path | None:
    """The folder with initdb and postgres; None where there is no server, or no user that it may run as."""
    if os.getuid() == 0 and SERVER_USER not in (user.pw_name for user in pwd.getpwall()):
        return None
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    return next((Path(path).resolve().parent for path in found if path), None)


class Server:
    """A running server; `store()` makes a database in it."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.port, self.process = folder, port, process
        self._numbers = itertools.count(1)
        self._templated = False

    def url(self, database: str = SERVER_USER) -> str:
        """Of one database."""
        return f"postgresql+asyncpg://{SERVER_USER}@127.0.0.1:{self.port}/{database}"

    def store(self, *, migrated: bool = True) -> str:
        """The URL of a new store: with the tables, or with nothing."""
        name = f"t{next(self._numbers)}"
        if migrated and not self._templated:
            self._templated = True
            self.run(f"CREATE DATABASE {TEMPLATE} LOCALE 'C' TEMPLATE template0")
            elsewhere(lambda: upgrade(StoreSettings(store=self.url(TEMPLATE))))
        template = TEMPLATE if migrated else "template0"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def stop(self) -> None:
        """At once, as in a crash: what was not written is recovered from the log at the next start."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def start(self) -> None:
        """Again, at the same address with the same data."""
        found = binaries()
        assert found is not None
        self.process = start(found, self.folder, self.port)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """One statement in the server's own database."""
        return fetch(self.url(), statement)

    def drop(self, url: str) -> None:
        """End a store."""
        self.run(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    """One statement on a connection of its own, from wherever."""

    async def call() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return elsewhere(lambda: asyncio.run(call()))


def elsewhere(work: Callable[[], T]) -> T:
    """Do it on another thread: on this one a loop may be running."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server until the end of the block."""
    found = binaries()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="dreambot-postgres-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, SERVER_USER, SERVER_USER)
        data, port = folder / "data", _free_port()
        made = [str(found / "initdb"), "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={SERVER_USER}"]
        subprocess.run([*_as_server(), *made, str(data)], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        server = Server(folder, port, start(found, folder, port))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(found: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The server's process, once it takes connections. fsync is as PostgreSQL has it: on."""
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 100}
    told = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        command = [*_as_server(), str(found / "postgres"), "-D", str(folder / "data"), *told]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    until = time.monotonic() + PATIENCE_S
    while subprocess.run([str(found / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.05)
    return process


def _as_server() -> list[str]:
    """Before a command: as the server's user where we are root, and dying with us."""
    if shutil.which("setpriv") is None:
        return ["runuser", "-u", SERVER_USER, "--"] if os.getuid() == 0 else []
    who = [f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--init-groups"] if os.getuid() == 0 else []
    return ["setpriv", *who, "--pdeathsig", "QUIT"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
