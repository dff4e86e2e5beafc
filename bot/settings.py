"""What a person may set about the bot, on top of the store's settings.

Read once, in `__main__` and in the terminal's entry, and handed down. A token comes from its environment variable, or
from the file that the variable with `_FILE` behind it names (systemd's credentials, a container's secrets); never from
dreambot.toml, and it is never printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from storage.settings import StoreSettings


class BotSettings(StoreSettings):
    """DREAMBOT_ADMINS is a list of names: `ada, slack:U123`; a bare name is one of the local surface."""

    secret: ClassVar[frozenset[str]] = frozenset(
        {"discord_token", "slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_secret"}
    )

    admins: frozenset[str] = frozenset()
    discord_token: SecretStr | None = None
    discord_shards: int | None = Field(None, ge=1)  # from 2,500 guilds on; one connection without it
    discord_api: str | None = None  # a Discord on this machine, for tests: http://127.0.0.1:PORT
    slack_bot_token: SecretStr | None = None  # xoxb-…
    slack_app_token: SecretStr | None = None  # xapp-…: Socket Mode
    slack_signing_secret: SecretStr | None = None  # HTTP mode
    slack_client_id: str | None = None  # with the secret: other workspaces may install the app
    slack_client_secret: SecretStr | None = None
    slack_redirect_url: str | None = None  # where Slack sends people back to, as the world sees our port
    slack_http_host: str = "127.0.0.1"
    slack_http_port: int | None = Field(None, ge=1, le=65_535)  # where to listen for HTTP mode and installations
    slack_api_url: str = "https://slack.com/api/"
    progress_s: float = Field(2.0, ge=0)  # at most one progress edit a message in so long
    channel_s: float = Field(1.0, ge=0)  # and at most one a channel in so long, finals aside
    shown_side: int = Field(256, ge=1, le=4096)  # smaller pictures are enlarged to it where people look at them
    keep_days: float = Field(0, ge=0)  # pictures of dreams completed longer ago are deleted; 0: they stay
    events_days: float = Field(7, gt=0)  # progress and history of dreams over for longer are forgotten
    bot_port: int = Field(0, ge=0, le=65_535)  # of the bot's metrics and health; 0: none
    blocklist: Path | None = None  # a file of words and patterns that no prompt may have; read again when it changes
    engine_absent_s: float = Field(10.0, gt=0)  # without an engine for so long, admins are told

    @field_validator("admins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(filter(None, (name.strip() for name in value.split(",")))) if isinstance(value, str) else value

    def secrets(self) -> list[str]:
        """Every secret that is set, to be blacked out of logs."""
        values = (getattr(self, name) for name in self.secret)
        told = [value.get_secret_value() for value in values if value is not None]
        return told if self.password is None else [*told, self.password]

    def is_admin(self, surface: str, user: str) -> bool:
        """Whether the settings name this person."""
        return f"{surface}:{user}" in self.admins or (surface == "local" and user in self.admins)
