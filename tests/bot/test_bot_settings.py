"""Tokens come from the environment or from a file that it names, and are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.house import House
from bot.settings import BotSettings
from bot.store import Store
from bot.surfaces import Surfaces
from storage.errors import UserError


def test_a_token_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """The variable itself goes first; what a file ends with does not count; printing shows neither."""
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    for environ, token in (
        ({"DREAMBOT_DISCORD_TOKEN": "plain"}, "plain"),
        ({"DREAMBOT_DISCORD_TOKEN_FILE": str(file)}, "from-a-file"),
        ({"DREAMBOT_DISCORD_TOKEN": "plain", "DREAMBOT_DISCORD_TOKEN_FILE": str(file)}, "plain"),
    ):
        settings = BotSettings.load({"DREAMBOT_HOME": str(tmp_path), **environ})
        assert settings.discord_token is not None
        assert settings.discord_token.get_secret_value() == token
        assert token not in repr(settings)


def test_a_token_is_not_read_from_where_it_does_not_belong(tmp_path: Path) -> None:
    """Not from dreambot.toml, and not from a file that is not there; the sentence says where it belongs."""
    (tmp_path / "dreambot.toml").write_text('slack_bot_token = "xoxb-1"\n')
    with pytest.raises(UserError, match="DREAMBOT_SLACK_BOT_TOKEN_FILE") as refusal:
        BotSettings.load({"DREAMBOT_HOME": str(tmp_path)})
    assert "xoxb-1" not in str(refusal.value)
    (tmp_path / "dreambot.toml").unlink()
    with pytest.raises(UserError, match="nosuch"):
        BotSettings.load({"DREAMBOT_HOME": str(tmp_path), "DREAMBOT_DISCORD_TOKEN_FILE": str(tmp_path / "nosuch")})


async def test_a_surface_is_served_once_its_token_is_set(store: Store, settings: BotSettings) -> None:
    """Without tokens the local one alone."""
    assert [adapter.surface for adapter in Surfaces(settings, House.of(store)).adapters] == ["local"]
    told = BotSettings.load({"DREAMBOT_HOME": str(settings.home), "DREAMBOT_DISCORD_TOKEN": "x.y.z"})
    assert [adapter.surface for adapter in Surfaces(told, House.of(store)).adapters] == ["local", "discord"]


async def test_a_surface_that_cannot_be_made_leaves_the_others_alone(store: Store, settings: BotSettings) -> None:
    """A bot token for Slack and no way for its commands to come in: said in a sentence, and Discord is served."""
    tokens = {"DREAMBOT_DISCORD_TOKEN": "x.y.z", "DREAMBOT_SLACK_BOT_TOKEN": "xoxb-1"}
    made = Surfaces(BotSettings.load({"DREAMBOT_HOME": str(settings.home), **tokens}), House.of(store))
    assert [adapter.surface for adapter in made.adapters] == ["local", "discord"]
    assert "slack is not served: Slack needs DREAMBOT_SLACK_APP_TOKEN" in made.unready()
