"""From an older revision of the tables to the newest, by Alembic. Imported only when there is something to do.

Two processes that open a new store at once take turns by a file lock; the second finds nothing left to do.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from storage.errors import StorageError
from storage.settings import StoreSettings
from storage.sqlite import pragmas


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["connection"] = connection
    return made


def head() -> str | None:
    """The newest revision in `versions/`."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(settings: StoreSettings) -> None:
    """Bring the store to the newest revision in one transaction; StorageError if a later version wrote it."""

    def run(connection: Connection) -> None:
        try:
            alembic.command.upgrade(config(connection), "head")
        except CommandError as error:
            raise StorageError(f"{settings.place} was written by a later version of dreambot: {error}.") from error

    if settings.on_server:
        from storage import postgres

        postgres.migrate(settings, run)
        return
    with _lock(settings.path.with_name(settings.path.name + ".lock")), _connection(settings) as connection:
        run(connection)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, and when the process dies
        yield


@contextmanager
def _connection(settings: StoreSettings) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{settings.path}", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas(writes=True, busy_s=settings.busy_s):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        yield connection
    engine.dispose()
