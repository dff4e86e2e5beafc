"""Pictures that people hand in on Slack: the first one beside a message to us, fetched with the workspace's own token.

The token goes to Slack's own hosts and nowhere else, whatever address a payload names. Knows files' payloads; what a
picture may be is `bot.hand_in`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot.hand_in import ALLOWED, MAX_BYTES
from bot.slack_workspaces import Workspaces
from storage.errors import UserError

HOST = "slack.com"
TIMEOUT = aiohttp.ClientTimeout(total=30)
CHUNK = 1 << 16
LOST = "Slack did not hand the picture over; send it once more, or ask an admin whether the app has files:read."


class Uploads:
    """Files of messages. `api_url`: a Slack on this machine, where it is not the real one."""

    def __init__(
        self, workspaces: Workspaces, session: aiohttp.ClientSession, hand_in: Callable[[bytes], str], api_url: str
    ) -> None:
        self._workspaces, self._session, self._hand_in = workspaces, session, hand_in
        self._api_url = api_url

    async def picture(self, team: str, message: Mapping[str, Any]) -> str | None:
        """The digest of the message's first picture; None where it has none.

        UserError for one that is too large, is no picture after all, or cannot be had.
        """
        files = message.get("files")
        found = [one for one in files if _is_picture(one)] if isinstance(files, list) else []
        if not found:
            return None
        if isinstance(size := found[0].get("size"), int) and size > MAX_BYTES:
            raise UserError(f"{ALLOWED}; this one is larger.")
        content = await self._fetched(team, str(found[0].get("url_private_download") or found[0].get("url_private")))
        return await asyncio.to_thread(self._hand_in, content)

    async def _fetched(self, team: str, url: str) -> bytes:
        """At most one byte more than is allowed, so that whoever looks at it sees that it is too much."""
        if not is_slacks(url, self._api_url):
            raise UserError(LOST)
        headers = {"Authorization": f"Bearer {(await self._workspaces.ourselves(team)).token}"}
        content = bytearray()
        try:
            async with self._session.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise UserError(LOST)
                async for chunk in answer.content.iter_chunked(CHUNK):
                    content += chunk
                    if len(content) > MAX_BYTES:
                        break
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise UserError(LOST) from None
        return bytes(content)


def is_slacks(url: str, api_url: str) -> bool:
    """Whether an address is one of Slack's, or of the Slack whose API is at `api_url`."""
    try:
        asked, own = urlsplit(url), urlsplit(api_url)
    except ValueError:
        return False
    if (asked.scheme, asked.netloc) == (own.scheme, own.netloc):
        return True
    host = asked.hostname or ""
    return asked.scheme == "https" and (host == HOST or host.endswith(f".{HOST}"))


def _is_picture(file: object) -> bool:
    return isinstance(file, dict) and str(file.get("mimetype") or "").startswith("image/")
