"""What Slack sends to an app, built as Slack builds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.slack.workspace import APP, BOT_USER, TEAM, TEAM_NAME, File, Workspace

Payload = dict[str, Any]


def escaped(text: str) -> str:
    """As text goes over the wire."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slash(workspace: Workspace, user: str, channel: str, command: str, text: str) -> Payload:
    """`/command text`."""
    return {
        "token": "unused",
        "team_id": TEAM,
        "team_domain": TEAM_NAME,
        "channel_id": channel,
        "channel_name": _channel_name(workspace, channel),
        "user_id": user,
        "user_name": workspace.users.get(user, {}).get("name", "ghost"),
        "command": command,
        "text": escaped(text),
        "api_app_id": APP,
        "is_enterprise_install": "false",
        "response_url": workspace.response_url(user, channel),
        "trigger_id": workspace.trigger(),
    }


def press(workspace: Workspace, user: str, channel: str, ts: str, action_id: str) -> Payload:
    """A button under a message."""
    message = workspace.channels[channel].messages[ts]
    block, button = _button(message["blocks"], action_id)
    action = {
        "action_id": action_id,
        "block_id": block.get("block_id", "generated"),
        "text": button["text"],
        "value": button.get("value", ""),
        "type": "button",
        "action_ts": workspace.clock.ts(),
    }
    return _interaction(workspace, "block_actions", user) | {
        "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
        "channel": {"id": channel, "name": _channel_name(workspace, channel)},
        "message": message,
        "state": {"values": {}},
        "response_url": workspace.response_url(user, channel),
        "actions": [action],
    }


def press_ephemeral(workspace: Workspace, user: str, channel: str, message: Payload, action_id: str) -> Payload:
    """A button under words that only this person sees: Slack sends no message along."""
    block, button = _button(message["blocks"], action_id)
    action = {"action_id": action_id, "block_id": block.get("block_id", "generated"), "type": "button"}
    return _interaction(workspace, "block_actions", user) | {
        "container": {
            "type": "message",
            "message_ts": workspace.clock.ts(),
            "channel_id": channel,
            "is_ephemeral": True,
        },
        "channel": {"id": channel, "name": _channel_name(workspace, channel)},
        "response_url": workspace.response_url(user, channel),
        "actions": [action | {"value": button.get("value", ""), "action_ts": workspace.clock.ts()}],
    }


def press_home(workspace: Workspace, user: str, action_id: str) -> Payload:
    """A button on the home tab."""
    view = workspace.homes[user]
    _, button = _button(view["blocks"], action_id)
    action = {"action_id": action_id, "value": button.get("value", ""), "type": "button", "block_id": "generated"}
    return _interaction(workspace, "block_actions", user) | {
        "container": {"type": "view", "view_id": view["id"]},
        "view": view,
        "actions": [action | {"action_ts": workspace.clock.ts()}],
    }


def submit(workspace: Workspace, user: str, view_id: str, values: Mapping[str, str]) -> Payload:
    """A modal sent in, with what was typed; what was not typed keeps its first value."""
    view = workspace.views[view_id]
    state: dict[str, Payload] = {}
    for block in view["blocks"]:
        if block["type"] == "input":
            element = block["element"]
            typed = values.get(block["block_id"], element.get("initial_value"))
            state[block["block_id"]] = {element["action_id"]: {"type": element["type"], "value": typed or None}}
    return _interaction(workspace, "view_submission", user) | {
        "view": view | {"state": {"values": state}},
        "response_urls": [],
    }


def shortcut(workspace: Workspace, user: str, channel: str, ts: str, callback_id: str) -> Payload:
    """A message's menu."""
    return _interaction(workspace, "message_action", user) | {
        "callback_id": callback_id,
        "message_ts": ts,
        "message": workspace.channels[channel].messages[ts],
        "channel": {"id": channel, "name": _channel_name(workspace, channel)},
        "response_url": workspace.response_url(user, channel),
    }


def event(workspace: Workspace, inner: Payload, event_id: str | None = None) -> Payload:
    """An event in its envelope."""
    return {
        "token": "unused",
        "team_id": TEAM,
        "api_app_id": APP,
        "type": "event_callback",
        "event_id": event_id or workspace.name("Ev"),
        "event_time": int(workspace.clock.now()),
        "event_context": "unused",
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": BOT_USER,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event": inner,
    }


def said(
    workspace: Workspace, user: str, channel: str, text: str, thread: str | None = None, picture: str | None = None
) -> Payload:
    """What somebody wrote, kept in the channel; `picture`: the bytes of a file beside it, in hexadecimal."""
    message: Payload = {"type": "message", "user": user, "text": text, "ts": workspace.clock.ts(), "team": TEAM}
    message |= {"blocks": [], **({"thread_ts": thread} if thread else {})}
    message |= {"files": [shared(workspace, bytes.fromhex(picture))]} if picture is not None else {}
    workspace.channels[channel].messages[message["ts"]] = message
    return message


def shared(workspace: Workspace, content: bytes) -> Payload:
    """A file that a person has uploaded, as messages carry it."""
    file = File(workspace.name("F"), "picture.png", len(content), content, complete=True, polls_left=0)
    workspace.files[file.id] = file
    url = f"{workspace.base}/files-pri/{file.id}"
    about = {"id": file.id, "name": file.name, "mimetype": "image/png", "filetype": "png", "size": len(content)}
    return about | {"url_private": url, "url_private_download": url, "mode": "hosted", "is_external": False}


def _interaction(workspace: Workspace, kind: str, user: str) -> Payload:
    person = workspace.users[user]
    return {
        "type": kind,
        "token": "unused",
        "api_app_id": APP,
        "team": {"id": TEAM, "domain": TEAM_NAME},
        "user": {"id": user, "username": person["name"], "name": person["name"], "team_id": person["team_id"]},
        "enterprise": None,
        "is_enterprise_install": False,
        "trigger_id": workspace.trigger(),
    }


def _button(blocks: list[Payload], action_id: str) -> tuple[Payload, Payload]:
    for block in blocks:
        for element in block.get("elements", [block.get("accessory") or {}]):
            if element.get("action_id") == action_id:
                return block, element
    raise KeyError(action_id)


def _channel_name(workspace: Workspace, channel: str) -> str:
    found = workspace.channels[channel]
    if found.direct:
        return "directmessage"
    return "privategroup" if found.private else found.id[2:].lower()
