"""What people do at the peer: INTERACTION_CREATE for a command, a button, a form, or a half-typed option."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from tests.fakes.discord.world import ALL_RIGHTS, APP, CHANNEL, FILE_LIMIT, Interaction, World

ADA = "300000000000000001"
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5


class Upload(str):
    """The id of an uploaded file."""


class Person(str):
    """Somebody's id."""


KINDS = {str: 3, bool: 5, int: 4, Person: 6, float: 10, Upload: 11}


def interaction(world: World, act: dict[str, Any]) -> tuple[Interaction, dict[str, Any]]:
    """The interaction of an act, remembered, and its gateway payload.

    act: kind (command, menu, component, modal, autocomplete) and its own keys; user, channel, permissions, age_s,
    user_install and limit (attachment_size_limit in bytes) where they matter.
    """
    channel = world.channels[act.get("channel") or CHANNEL]
    user = act.get("user") or ADA
    kind, data, more = _data(world, act)
    made = Interaction(
        id=world.clock.snowflake(),
        token=secrets.token_hex(24),
        type=kind,
        channel=channel,
        user=user,
        created_at=world.clock.now() - act.get("age_s", 0.0),
        user_install=bool(act.get("user_install")),
        limit=act.get("limit") or FILE_LIMIT,
    )
    world.interactions[made.token] = made
    payload: dict[str, Any] = {
        "id": made.id,
        "application_id": APP,
        "type": kind,
        "token": made.token,
        "version": 1,
        "data": data,
        "channel_id": channel.id,
        "channel": channel.payload(),
        "app_permissions": ALL_RIGHTS if channel.bot_in else "0",
        "locale": "en-GB",
        "entitlements": [],
        "attachment_size_limit": made.limit,
        "authorizing_integration_owners": {"1": user} if made.user_install else {"0": channel.guild or "0"},
        "context": 0 if channel.guild else 1,
        **more,
    }
    if channel.guild:
        payload["guild_id"] = channel.guild
        payload["guild"] = {"id": channel.guild, "locale": "en-GB", "features": []}
        payload["member"] = world.member(user, act.get("permissions") or ALL_RIGHTS)
    else:
        payload["user"] = world.user(user)
    return made, payload


def _data(world: World, act: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    kind = act["kind"]
    if kind in ("command", "autocomplete"):
        data = _command(world, act["name"], 1)
        given, resolved = _resolved(world, act.get("options") or {})
        data["options"] = _options(act.get("verb"), given, act.get("focused"))
        data |= resolved
        return (COMMAND if kind == "command" else AUTOCOMPLETE), data, {}
    if kind == "menu":
        data = _command(world, act["name"], 3)
        target = world.clock.snowflake()
        author = world.user(act.get("author") or ADA)
        message = {
            "id": target,
            "content": act["content"],
            "author": author,
            "channel_id": act.get("channel") or CHANNEL,
        }
        blank: dict[str, Any] = {name: [] for name in ("embeds", "mentions", "mention_roles", "components")}
        blank["attachments"] = [_upload(world, "picture", act["picture"])] if act.get("picture") else []
        flags = {"type": 0, "flags": 0, "pinned": False, "tts": False, "mention_everyone": False}
        times = {"timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None}
        resolved = {"messages": {target: message | blank | flags | times}}
        return COMMAND, data | {"target_id": target, "resolved": resolved}, {}
    if kind == "component":
        message = world.messages[act["message"]]
        return COMPONENT, {"custom_id": act["custom_id"], "component_type": 2, "id": 1}, {"message": message}
    parts = [
        {"type": 18, "id": n, "component": {"type": 4, "id": n + 100, "custom_id": name, "value": value}}
        for n, (name, value) in enumerate(act["values"].items())
    ]
    more = {"message": world.messages[act["message"]]} if act.get("message") else {}
    return MODAL, {"custom_id": act["custom_id"], "components": parts}, more


def _command(world: World, name: str, kind: int) -> dict[str, Any]:
    """The registered command; a name that was never registered is a test's mistake."""
    known = [command for command in world.commands if command["name"] == name and command.get("type", 1) == kind]
    if not known:
        raise LookupError(f"no command {name!r} of type {kind} is registered")
    return {"id": known[0]["id"], "name": name, "type": kind}


def _resolved(world: World, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options whose value is {"png": base64} as uploaded files, and those of {"user": id} as people."""
    given, files, people = dict(options), {}, {}
    for name, value in options.items():
        if isinstance(value, dict) and "user" in value:
            given[name] = Person(value["user"])
            people[value["user"]] = world.user(value["user"])
        elif isinstance(value, dict):
            file = _upload(world, name, value["png"])
            files[file["id"]] = file
            given[name] = Upload(file["id"])
    found = {"attachments": files, "users": people}
    return given, {"resolved": {name: kind for name, kind in found.items() if kind}} if files or people else {}


def _upload(world: World, name: str, png: str) -> dict[str, Any]:
    """A file of somebody's, from base64."""
    number, data = world.clock.snowflake(), base64.b64decode(png)
    world.files[number] = data
    url = f"{world.base}/cdn/attachments/0/{number}/{name}.png"
    about = {"id": number, "filename": f"{name}.png", "size": len(data), "url": url, "proxy_url": url}
    return about | {"content_type": "image/png"}


def _options(verb: str | None, options: dict[str, Any], focused: str | None) -> list[dict[str, Any]]:
    given = [
        {"name": name, "type": KINDS[type(value)], "value": value, **({"focused": True} if name == focused else {})}
        for name, value in options.items()
    ]
    return [{"name": verb, "type": 1, "options": given}] if verb else given
