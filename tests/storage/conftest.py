"""Every test of the store runs on both databases, unless it says that it is about one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.settings import StoreSettings
from tests import postgres

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def store(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture
def settings(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """A store of this test's own."""
    if store == SQLITE:
        own = StoreSettings(home=tmp_path, silent_s=2.0)
        shutil.copy(request.getfixturevalue("empty_store"), own.path)
        yield own
        return
    server: postgres.Server = request.getfixturevalue("server")
    url = server.store()
    yield StoreSettings(home=tmp_path, silent_s=2.0, store=url)
    server.drop(url)
