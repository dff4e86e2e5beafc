"""What Slack's refusals mean for a message that is owed: come back later, or never."""

from __future__ import annotations

import asyncio

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.adapter import TryLater, Undeliverable

OUTAGE_S = 5.0
NETWORK = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
FAILURES = (*NETWORK, SlackClientError)
CLOSED = {  # the place is closed to us, but the person may be reached directly
    "channel_not_found": "the channel is gone, or I am not in it",
    "not_in_channel": "I am not in that channel",
    "is_archived": "the channel is archived",
    "restricted_action": "the workspace does not let me post there",
    "restricted_action_read_only_channel": "the channel is read-only",
    "restricted_action_thread_only_channel": "the channel takes threads only",
    "user_not_in_channel": "the person has left the channel",
    "thread_not_found": "the thread is gone",
}
NEVER = {
    "account_inactive": "the app was removed from the workspace",
    "invalid_auth": "the token is not valid",
    "not_authed": "there is no token",
    "not_allowed_token_type": "the token is of another kind",
    "token_revoked": "the token was revoked",
    "token_expired": "the token has expired",
    "missing_scope": "the app lacks a permission; install it again with the manifest",
    "no_permission": "the app lacks a permission",
    "team_access_not_granted": "the workspace does not admit the app",
    "ekm_access_denied": "the workspace's keys are withheld",
    "cannot_dm_bot": "bots get no messages",
    "user_not_found": "the person is gone",
    "user_disabled": "the person's account is closed",
}


def code(error: BaseException) -> str:
    """Slack's word for what is wrong; empty where it said none."""
    if not isinstance(error, SlackApiError):
        return ""
    data = getattr(error.response, "data", error.response)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def details(error: BaseException) -> str:
    """Slack's explanation, where it gave one."""
    data = getattr(getattr(error, "response", None), "data", None)
    return " ".join(map(str, data.get("errors") or ())) if isinstance(data, dict) else ""


def unknown_outcome(error: BaseException) -> bool:
    """Whether the call may have been carried out although it failed: a 5xx, a cut line."""
    if isinstance(error, SlackApiError):
        return int(getattr(error.response, "status_code", 200)) >= 500
    return isinstance(error, FAILURES)


def read(error: Exception) -> Exception:
    """The error as the delivery understands it."""
    word = code(error)
    if isinstance(error, SlackApiError) and getattr(error.response, "status_code", 200) == 429:
        return TryLater(float(error.response.headers.get("Retry-After", 1)), "Slack asks for a pause")
    if unknown_outcome(error) or word in ("internal_error", "fatal_error", "service_unavailable", "request_timeout"):
        return TryLater(OUTAGE_S, f"Slack does not answer ({word or type(error).__name__})")
    if word in NEVER or word in CLOSED:
        return Undeliverable(NEVER.get(word) or CLOSED[word])
    return error
