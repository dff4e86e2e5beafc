"""What a person may set about the store: environment variables DREAMBOT_* and an optional dreambot.toml.

Read once, in `__main__`, and handed down; nothing else touches the environment. Knows no secrets.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from storage.errors import UserError

PREFIX = "DREAMBOT_"
FILE = "dreambot.toml"
ROLE = re.compile(r"member|moderator|admin|discord:[0-9]{1,20}")
SCHEMES = ("sqlite:///", "sqlite+aiosqlite:///")
SERVER = "postgresql+asyncpg://"


class RoleLimits(BaseModel):
    """What one role allows; what is not stated says nothing, and `inf` is no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queued: float | None = Field(None, ge=0)
    running: float | None = Field(None, ge=0)
    daily_seconds: float | None = Field(None, ge=0)
    cooldown_s: float | None = Field(None, ge=0)

    def stated(self) -> dict[str, float]:
        """By the names that `storage.roles` has for them."""
        names = {"queued": self.queued, "running": self.running}
        names |= {"seconds": self.daily_seconds, "cooldown": self.cooldown_s}
        return {name: value for name, value in names.items() if value is not None}


class StoreSettings(BaseSettings):
    """Where the store is and how patient it is. Made by `load`, or in tests by plain keyword arguments."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")
    secret: ClassVar[frozenset[str]] = frozenset()  # fields that only the environment may hold, or a file it names

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_path("dreambot")))
    store: str | None = None  # a URL; by default SQLite in `home`
    images_url: str | None = None  # DREAMBOT_IMAGES: where pictures are that several hosts share; by default in `home`
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
    running_limit: int | None = Field(None, ge=0)  # running jobs of one person, in all engines
    running_limit_guild: int | None = Field(None, ge=0)  # of everybody in one guild together
    queued_limit_guild: int | None = Field(None, ge=1)  # of everybody in one guild together
    daily_seconds: float | None = Field(None, gt=0)  # GPU-seconds that one person may use in a day
    daily_seconds_moderator: float | None = Field(None, gt=0)  # the same for a guild's moderators; admins have no bound
    daily_seconds_guild: float | None = Field(None, gt=0)  # of everybody in one guild together
    cooldown_s: float = Field(0, ge=0)  # between two dreams of one person
    cooldown_guild_s: float = Field(0, ge=0)  # between two dreams of one guild
    roles: Mapping[str, RoleLimits] = Field(default_factory=dict)  # by name: member, moderator, admin, discord:ROLE_ID
    busy_s: float = Field(5.0, gt=0)  # how long a writer waits for the lock, each try
    lost_s: float = Field(60.0, ge=0)  # how long a call goes on trying when the database server does not answer

    @field_validator("roles", mode="before")
    @classmethod
    def _read_roles(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("roles")
    @classmethod
    def _know_roles(cls, value: Mapping[str, RoleLimits]) -> Mapping[str, RoleLimits]:
        if unknown := [name for name in value if not ROLE.fullmatch(name)]:
            raise ValueError(f"a role is member, moderator, admin or discord:ROLE_ID, not {unknown[0]!r}")
        return value

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
            named = variable(told[0])
            raise UserError(f"{FILE} must not hold {told[0]}; set {named}, or {named}_FILE to a file with it.")
        if urlsplit(str(values.get("store", ""))).password:
            raise UserError(f"{FILE} must not hold a password; PGPASSWORD does, or ~/.pgpass, or DREAMBOT_STORE_FILE.")
        if "images" in values:
            values["images_url"] = values.pop("images")
        for name in cls.model_fields:
            if text := environ.get(variable(name)):
                values[name] = text
            elif (name in cls.secret or name == "store") and (file := environ.get(f"{PREFIX}{name.upper()}_FILE")):
                values[name] = _secret(name, Path(file)) or None
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(_sentence(error)) from None

    @property
    def on_server(self) -> bool:
        """Whether the store is PostgreSQL; UserError if it is neither that nor SQLite in a file."""
        if self.store is None or any(self.store.startswith(s) and len(self.store) > len(s) for s in SCHEMES):
            return False
        if self.store.startswith(SERVER) and self._url is not None and self._url.path.strip("/"):
            return True
        raise UserError(
            f"DREAMBOT_STORE is sqlite:///PATH or {SERVER}USER@HOST:PORT/DATABASE; "
            f"{self.store.partition(':')[0]!r} is not supported, or something is missing."
        )

    @property
    def path(self) -> Path:
        """The database file; UserError unless the store is SQLite."""
        if self.on_server:
            raise UserError(f"The store is {self.place}, and this is for SQLite's file only.")
        for scheme in SCHEMES:
            if self.store is not None and self.store.startswith(scheme):
                return Path(self.store.removeprefix(scheme))
        return self.home / "dreambot.db"

    @property
    def place(self) -> str:
        """Where the store is, for people: without a password."""
        if not self.on_server or self._url is None:
            return str(self.path)
        return f"{SERVER}{self._url.netloc.rpartition('@')[2]}{self._url.path}"

    @property
    def password(self) -> str | None:
        """The password in the store's URL: to be blacked out of logs."""
        return unquote(self._url.password) if self._url is not None and self._url.password else None

    @property
    def _url(self) -> SplitResult | None:
        try:
            url = urlsplit(self.store or "")
            _ = url.port
        except ValueError:  # it has a port that is none
            return None
        return url if url.hostname else None

    @property
    def images(self) -> Path:
        """The folder of the pictures: of all, or of those that this host has seen."""
        if self.images_url is not None and self.images_url.startswith("file://"):
            return Path(unquote(urlsplit(self.images_url).path))
        return self.home / "images"

    @property
    def images_elsewhere(self) -> str | None:
        """The URL of the pictures, unless a folder holds them all."""
        return None if self.images_url is None or self.images_url.startswith("file://") else self.images_url


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + {"images_url": "images"}.get(name, name).upper()


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
    name = variable(str(first["loc"][0]))
    return f"{name}: {first['msg']}; {first['input']!r} is not."
