"""An open store for each test, and the fake engine in the test's own process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.commands import Commands
from bot.settings import BotSettings
from bot.store import Store, open_store
from tests.fakes.engine import FakeEngine


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a migrated, empty store: migrating takes longer than most tests."""
    home = tmp_path_factory.mktemp("template")

    async def make() -> None:
        async with open_store(BotSettings(home=home)):
            pass

    asyncio.run(make())
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own, for the processes that it starts as well."""
    home = Path(shutil.copytree(template, tmp_path / "home"))
    monkeypatch.setenv("DREAMBOT_HOME", str(home))
    monkeypatch.setenv("DREAMBOT_POLL_S", "0.005")
    return home


@pytest.fixture
def settings(home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BotSettings:
    """Settings that wait for nothing; with DREAMBOT_TEST_STORE=postgresql, of a store there."""
    url = None
    if os.environ.get("DREAMBOT_TEST_STORE") == "postgresql":
        url = request.getfixturevalue("server").store()
        monkeypatch.setenv("DREAMBOT_STORE", url)  # for the processes that the test starts
    return BotSettings(home=home, poll_s=0.005, silent_s=2.0, store=url)


@pytest.fixture
async def store(settings: BotSettings) -> AsyncIterator[Store]:
    """The open store."""
    async with open_store(settings) as opened:
        yield opened


@pytest.fixture
def commands(store: Store) -> Commands:
    """The commands on that store."""
    return Commands(store)


@pytest.fixture
def engine(store: Store, settings: BotSettings) -> FakeEngine:
    """An engine that is stepped by the test."""
    return FakeEngine(store.database, settings)
