"""What a person may set about the store: environment variables DREAMBOT_* and an optional dreambot.toml.

Read once, in `__main__`, and handed down; nothing else touches the environment. Knows no secrets.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from storage.errors import UserError

PREFIX = "DREAMBOT_"
FILE = "dreambot.toml"
SCHEMES = ("sqlite:///", "sqlite+aiosqlite:///")


class StoreSettings(BaseSettings):
    """Where the store is and how patient it is. Made by `load`, or in tests by plain keyword arguments."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")
    secret: ClassVar[frozenset[str]] = frozenset()  # fields that only the environment may hold, or a file it names

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_path("dreambot")))
    store: str | None = None  # a URL; by default SQLite in `home`
    poll_s: float = Field(0.02, gt=0)  # how often a feed looks for another process's commits
    silent_s: float = Field(10.0, gt=0)  # an engine without a beat for so long is dead
    max_strikes: int = Field(3, ge=1)  # crashes alone after which a job is given up
    room: int = Field(8, ge=1)  # jobs an engine runs at once
    cap: int = Field(6, ge=1)  # how many of them may be one person's
    queued_limit: int = Field(1_000, ge=1)  # waiting jobs of one person, unless an admin set another number
    disk_floor_mb: int = Field(256, ge=0)  # with less free nothing new is accepted; what runs may end
    ballast_mb: int = Field(64, ge=0)  # a file that is thrown out when the disk is full all the same
    metrics_host: str = "127.0.0.1"  # where both processes listen for metrics and health, if they are to
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    queued_limit_guild: int | None = Field(None, ge=1)  # of everybody in one guild together
    daily_seconds: float | None = Field(None, gt=0)  # GPU-seconds that one person may use in a day
    daily_seconds_moderator: float | None = Field(None, gt=0)  # the same for a guild's moderators; admins have no bound
    daily_seconds_guild: float | None = Field(None, gt=0)  # of everybody in one guild together
    cooldown_s: float = Field(0, ge=0)  # between two dreams of one person
    busy_s: float = Field(5.0, gt=0)  # how long a writer waits for the lock, each try

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: `load` has read the environment, so that tests can hand in another one."""
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """From `environ` first, then dreambot.toml in DREAMBOT_HOME or the working directory."""
        environ = os.environ if environ is None else environ
        values = _from_file(environ)
        if told := sorted(cls.secret & values.keys()):
            variable = PREFIX + told[0].upper()
            raise UserError(f"{FILE} must not hold {told[0]}; set {variable}, or {variable}_FILE to a file with it.")
        for name in cls.model_fields:
            if text := environ.get(PREFIX + name.upper()):
                values[name] = text
            elif name in cls.secret and (file := environ.get(f"{PREFIX}{name.upper()}_FILE")):
                values[name] = _secret(name, Path(file)) or None
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(_sentence(error)) from None

    @property
    def path(self) -> Path:
        """The database file; UserError unless the store is SQLite in a file."""
        if self.store is None:
            return self.home / "dreambot.db"
        for scheme in SCHEMES:
            if self.store.startswith(scheme) and len(self.store) > len(scheme):
                return Path(self.store.removeprefix(scheme))
        raise UserError(f"DREAMBOT_STORE is sqlite:///PATH for now; {self.store.partition(':')[0]!r} is not supported.")

    @property
    def images(self) -> Path:
        """The folder of the pictures."""
        return self.home / "images"


def _from_file(environ: Mapping[str, str]) -> dict[str, Any]:
    places = [Path(environ[PREFIX + "HOME"])] if environ.get(PREFIX + "HOME") else []
    for folder in [*places, Path()]:
        file = folder / FILE
        if file.is_file():
            try:
                return tomllib.loads(file.read_text())
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{file} is not valid TOML: {error}.") from None
    return {}


def _secret(name: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError(f"{PREFIX}{name.upper()}_FILE is a file that can be read; {str(file)!r}: {why}.") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = PREFIX + str(first["loc"][0]).upper()
    return f"{name}: {first['msg']}; {first['input']!r} is not."
