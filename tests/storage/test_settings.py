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


def test_store_on_a_server(tmp_path: Path) -> None:
    """PostgreSQL is named by a URL, in a file if its password is in it, and told of without the password."""
    url = "postgresql+asyncpg://ada:p%40ss@db.example:5433/dreams"
    (tmp_path / "url").write_text(f"{url}\n")
    found = StoreSettings.load({"DREAMBOT_HOME": str(tmp_path), "DREAMBOT_STORE_FILE": str(tmp_path / "url")})
    assert (found.on_server, found.password) == (True, "p@ss")
    assert found.place == "postgresql+asyncpg://db.example:5433/dreams"
    with pytest.raises(UserError, match="SQLite's file only") as told:
        _ = found.path
    assert "p%40ss" not in str(told.value)
    (tmp_path / "dreambot.toml").write_text(f'store = "{url}"\n')
    with pytest.raises(UserError, match="must not hold a password"):
        StoreSettings.load({"DREAMBOT_HOME": str(tmp_path)})


@pytest.mark.parametrize("url", ["postgresql+asyncpg://host", "postgresql+asyncpg://host:port/db", "mysql://host/db"])
def test_half_a_server(url: str) -> None:
    """A URL that lacks its database, or has a port that is none, is refused with what is wanted."""
    with pytest.raises(UserError, match="USER@HOST:PORT/DATABASE"):
        _ = StoreSettings(store=url).on_server
