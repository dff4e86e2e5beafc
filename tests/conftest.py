"""What every test stands on: one thread, the safe SQLite, and a store of its own."""

from __future__ import annotations

import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, which is not here
os.environ.setdefault("DREAMBOT_BALLAST_MB", "0")  # a test's home is small
os.environ.setdefault("DREAMBOT_BANK", "0")  # an idle engine would draw ahead, and take the core from the next test

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.database import Database  # before anything else imports sqlite3: storage puts the safe one in its place
from storage.migrations import upgrade
from storage.queue import Queue
from storage.settings import StoreSettings
from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"DREAMBOT_DATA": ROOT.parent / "shared" / "data", "DREAMBOT_CONTRACTS": ROOT.parent / "shared" / "contracts"}

for name, folder in FOLDERS.items():
    os.environ.setdefault(name, str(folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the training photographs are skipped where there are none."""
    if not Path(os.environ["DREAMBOT_DATA"]).is_dir():
        reason = f"no training photographs: {os.environ['DREAMBOT_DATA']} (DREAMBOT_DATA) is not a folder"
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with nothing in it, to be copied: migrating takes longer than most tests."""
    made = StoreSettings(home=tmp_path_factory.mktemp("empty"))
    upgrade(made)
    return made.path


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server, started for the first test that wants one."""
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL: initdb is neither in PATH nor in /usr/lib/postgresql, or there is no user postgres")
    with postgres.serving() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path) -> StoreSettings:
    """A store of this test's own."""
    own = StoreSettings(home=tmp_path, silent_s=2.0)
    shutil.copy(empty_store, own.path)
    return own


@pytest.fixture
async def db(settings: StoreSettings) -> AsyncIterator[Database]:
    """The open store."""
    async with Database.open(settings) as database:
        yield database


@pytest.fixture
def queue(db: Database, settings: StoreSettings) -> Queue:
    """Its queue."""
    return Queue(db, settings)
