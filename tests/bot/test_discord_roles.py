"""What Discord says of a person's roles reaches the limits."""

from __future__ import annotations

from types import SimpleNamespace

from pydantic import SecretStr

from bot.discord_adapter import DiscordAdapter
from bot.house import House
from bot.settings import BotSettings
from bot.store import Store


async def test_roles_come_by_id(store: Store, settings: BotSettings) -> None:
    """A member's roles, as `discord:ROLE_ID`; who is met in a direct message has none."""
    adapter = DiscordAdapter(settings.model_copy(update={"discord_token": SecretStr("x")}), House.of(store))
    rights = SimpleNamespace(manage_messages=False)
    member = SimpleNamespace(id=3, display_name="Eve", roles=[SimpleNamespace(id=1), SimpleNamespace(id=77)])
    asked = SimpleNamespace(user=member, guild_id=1, permissions=rights)
    assert adapter._caller(asked).roles == ("discord:1", "discord:77")  # type: ignore[arg-type]
    alone = SimpleNamespace(user=SimpleNamespace(id=3, display_name="Eve"), guild_id=None, permissions=rights)
    assert adapter._caller(alone).roles == ()  # type: ignore[arg-type]
