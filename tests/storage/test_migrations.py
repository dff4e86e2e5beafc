"""From nothing, from older and from later revisions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from storage import migrations, schema
from storage.database import Database, sqlite_connection
from storage.engines import Engines
from storage.errors import StorageError
from storage.settings import StoreSettings
from tests.storage import raw
from tests.storage.raw import on_postgresql, on_sqlite

OPEN = """
import asyncio, sys
from pathlib import Path
from typing import Any
from storage.database import Database
from storage.settings import StoreSettings

async def main():
    async with Database.open(StoreSettings(home=Path(sys.argv[1]))):
        print("alembic" in sys.modules)

asyncio.run(main())
"""


def _open(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OPEN, str(home)], stdout=subprocess.PIPE, text=True)


def test_head() -> None:
    """The tables know which revision they are."""
    assert migrations.head() == schema.HEAD


@on_sqlite
def test_migrations_make_the_tables(settings: StoreSettings, tmp_path: Path) -> None:
    """The migrations lead exactly to the tables of storage.schema, with constraints and indices."""
    migrated = create_engine(f"sqlite:///{settings.path}")
    with migrated.connect() as connection:
        assert _differences(connection) == []
    created = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    schema.metadata.create_all(created)
    assert _made(settings.path) == _made(tmp_path / "created.db")
    migrated.dispose()
    created.dispose()


@on_postgresql
async def test_migrations_make_the_same_tables_there(db: Database) -> None:
    """On PostgreSQL the same migrations lead to the same tables, but for what their texts are called."""
    async with db.write() as connection:
        assert await connection.run_sync(_differences) == []


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))


def _made(path: Path) -> dict[str, list[str]]:
    """Every table's and index's definition, its parts sorted: ALTER TABLE and Alembic write their own way."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    with sqlite_connection(path) as connection:
        found = connection.execute(query).fetchall()
    return {name: sorted(_parts(sql)) for name, sql in found}


def _parts(sql: str) -> list[str]:
    """What stands before the outermost parentheses, between the commas within them, and behind."""
    parts, depth = [""], 0
    for sign in sql:
        depth += (sign == "(") - (sign == ")")
        if (sign, depth) in (("(", 1), (")", 0), (",", 1)):
            parts.append("")
        else:
            parts[-1] += sign
    return [" ".join(part.replace('"', "").split()) for part in parts]


async def test_embedded_pack_is_known(db: Database) -> None:
    """Before any engine has run, the embedded pack is offered with its 26 labels; every method is taken on."""
    (pack,) = await Engines(db).packs()
    assert (pack.name, pack.labels, pack.offered, pack.digest) == ("embedded", 26, True, None)
    assert list(pack.methods) == []


def test_two_processes_open_a_new_store(tmp_path: Path) -> None:
    """Two processes that open a new store at once both find it whole."""
    both = [_open(tmp_path), _open(tmp_path)]
    assert [process.wait() for process in both] == [0, 0]
    for process in both:
        process.communicate()
    again = _open(tmp_path)
    assert again.communicate()[0].strip() == "False", "an up-to-date store is opened without Alembic"


async def test_later_version(settings: StoreSettings) -> None:
    """A store that a later version wrote is left alone, in a sentence."""
    raw.run(settings, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="later version"):
        async with Database.open(settings):
            pass


async def test_not_a_database(tmp_path: Path) -> None:
    """A file that is no database is refused and left as it is."""
    (tmp_path / "dreambot.db").write_bytes(b"my holiday pictures" * 100)
    with pytest.raises(StorageError, match="not a database"):
        async with Database.open(StoreSettings(home=tmp_path)):
            pass
    assert (tmp_path / "dreambot.db").read_bytes() == b"my holiday pictures" * 100


async def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A home that cannot be made is said in a sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made"):
        async with Database.open(StoreSettings(home=tmp_path / "file" / "home")):
            pass
