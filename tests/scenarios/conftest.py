"""A house for every scenario."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.tiny import make_tiny_pack
from tests.scenarios.house import House, open_house


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny pack."""
    return make_tiny_pack(tmp_path_factory.mktemp("packs")).parent


@pytest.fixture
async def house(tmp_path: Path, tiny_folder: Path) -> AsyncIterator[House]:
    """A fresh home with the tiny pack and no engine yet."""
    async with open_house(tmp_path / "home", tiny_folder) as opened:
        yield opened
