"""`dreambot doctor` on Slack: what is missing is said in words, with what mends it."""

from __future__ import annotations

from bot.doctor import Finding
from bot.settings import BotSettings
from bot.slack_doctor import examine
from tests.bot.slack_stage import peer, settings_for


def by_name(found: list[Finding]) -> dict[str, Finding]:
    """The findings by their name."""
    return {finding.check: finding for finding in found}


async def test_a_whole_setup_is_ok(settings: BotSettings) -> None:
    """Both tokens are good and the permissions are the manifest's; without tokens there is nothing to say."""
    assert await examine(settings) == []
    async with peer() as slack:
        found = await examine(settings_for(slack, settings))
    assert [finding.ok for finding in found] == [True] * 3


async def test_what_is_missing_is_said(settings: BotSettings) -> None:
    """A permission that was not granted, tokens that Slack does not know, a Slack that is not there, half a setup."""
    async with peer() as slack:
        own = settings_for(slack, settings)
        await slack.control("scopes", scopes=["chat:write", "commands"])
        lacking = by_name(await examine(own))["slack permissions"]
        assert lacking.ok is False
        assert "files:write" in lacking.found
        assert "Reinstall" in lacking.found
        wrong = {"slack_bot_token": "xoxb-wrong", "slack_app_token": "xapp-wrong"}
        found = by_name(await examine(BotSettings(**(own.model_dump() | wrong))))
        assert "invalid_auth; OAuth & Permissions" in found["slack bot token"].found
        assert "connections:write" in found["slack app token"].found
    gone = by_name(await examine(own))["slack bot token"]
    assert "cannot be reached" in gone.found
    half = BotSettings(**(settings.model_dump() | {"slack_bot_token": "xoxb-1"}))
    assert "DREAMBOT_SLACK_APP_TOKEN" in (await examine(half))[0].found
