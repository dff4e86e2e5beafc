"""The shipped Slack manifest: valid by the published schema, and the same app that the code is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.slack_http import SCOPES
from bot.slack_listeners import SHORTCUT
from tests.conftest import ROOT


def manifest() -> dict[str, Any]:
    """As it is shipped."""
    return dict(yaml.safe_load((ROOT / "deploy" / "slack-manifest.yaml").read_text(encoding="utf-8")))


def published() -> jsonschema.Draft7Validator:
    """Slack's own schema."""
    file = Path(os.environ["DREAMBOT_CONTRACTS"]) / "slack" / "manifest.schema.2.0.0.json"
    if not file.is_file():
        pytest.skip(f"no published schema: {file} (DREAMBOT_CONTRACTS) is not there")
    return jsonschema.Draft7Validator(json.loads(file.read_text()))


def test_the_manifest_is_valid() -> None:
    """By the schema that Slack publishes; broken in one place, it is not."""
    schema = published()
    assert [error.message for error in schema.iter_errors(manifest())] == []
    broken = manifest() | {"settings": {"socket_mode_enabled": "yes"}}
    assert not schema.is_valid(broken)


def test_the_manifest_obeys_slacks_limits() -> None:
    """Lengths that Slack checks when it is pasted."""
    shown = manifest()["display_information"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert 175 <= len(shown["long_description"]) <= 4_000
    for command in manifest()["features"]["slash_commands"]:
        assert len(command["command"]) <= 32
        assert len(command["description"]) <= 2_000
        assert len(command["usage_hint"]) <= 1_000
    for shortcut in manifest()["features"]["shortcuts"]:
        assert len(shortcut["name"]) <= 24


def test_the_manifest_is_the_app_that_the_code_is() -> None:
    """The same scopes, commands, shortcut and events."""
    made = manifest()
    assert made["oauth_config"]["scopes"]["bot"] == sorted(SCOPES)
    assert [command["command"] for command in made["features"]["slash_commands"]] == ["/dream", "/dream-admin"]
    assert made["features"]["shortcuts"][0]["callback_id"] == SHORTCUT
    listeners = (ROOT / "bot" / "slack_listeners.py").read_text(encoding="utf-8")
    for event in made["settings"]["event_subscriptions"]["bot_events"]:
        assert f'"{event.partition(".")[0]}"' in listeners
