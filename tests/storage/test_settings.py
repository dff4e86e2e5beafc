"""Where settings come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import UserError
from storage.settings import StoreSettings


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A value comes from the environment, else from dreambot.toml in the home, else it is the default."""
    (tmp_path / "dreambot.toml").write_text("silent_s = 3\nroom = 4\nsomething_else = 1\n")
    settings = StoreSettings.load({"DREAMBOT_HOME": str(tmp_path), "DREAMBOT_ROOM": "2", "HOME": "/nowhere"})
    assert (settings.room, settings.silent_s, settings.cap, settings.home) == (2, 3.0, 6, tmp_path)
    assert settings.path == tmp_path / "dreambot.db"


def test_frozen(tmp_path: Path) -> None:
    """Settings do not change."""
    with pytest.raises(ValueError, match="frozen"):
        StoreSettings(home=tmp_path).room = 1


@pytest.mark.parametrize(("name", "value"), [("ROOM", "0"), ("ROOM", "many"), ("POLL_S", "-1")])
def test_wrong_values(tmp_path: Path, name: str, value: str) -> None:
    """A wrong value is named in a sentence."""
    with pytest.raises(UserError, match=f"DREAMBOT_{name}"):
        StoreSettings.load({"DREAMBOT_HOME": str(tmp_path), f"DREAMBOT_{name}": value})


def test_broken_file(tmp_path: Path) -> None:
    """A settings file that is not TOML is named in a sentence."""
    (tmp_path / "dreambot.toml").write_text("room = ")
    with pytest.raises(UserError, match=r"dreambot\.toml is not valid TOML"):
        StoreSettings.load({"DREAMBOT_HOME": str(tmp_path)})


@pytest.mark.parametrize("url", ["sqlite:////tmp/a.db", "sqlite+aiosqlite:////tmp/a.db"])
def test_store_in_a_file(url: str) -> None:
    """SQLite's URL names a file."""
    assert StoreSettings(store=url).path == Path("/tmp/a.db")


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://", "nonsense"])
def test_other_stores(url: str) -> None:
    """Another database is refused in a sentence."""
    with pytest.raises(UserError, match="sqlite:///PATH"):
        _ = StoreSettings(store=url).path
