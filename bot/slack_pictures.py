"""Pictures as Slack files: uploaded once, waited for until Slack can show them.

An upload is shared with nobody by itself; a message shows it in an image block, so picture, words and buttons are one
message, and one that may be edited. Slack's `ok` to an upload means little: it works on the file later, and a block
that shows it earlier is refused. Hence `files.info` is asked until the file has its type.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import slack_trouble
from bot.adapter import TryLater
from bot.enlarge import enlarged
from bot.slack_book import Book

log = logging.getLogger(__name__)

POLLS_S = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0, 2.0)
TRIES = 2
FILE = "dreams.zip"  # what a file that goes with an answer is called
LATER_S = 15.0


class NotReady(Exception):
    """Slack took the file and never finished with it."""


class Pictures:
    """The store's pictures in Slack's workspaces."""

    def __init__(
        self,
        book: Book,
        path: Callable[[str], Path],
        side: int,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._book = book
        self._path = path
        self._side = side
        self._pause = pause

    async def files(self, client: AsyncWebClient, team: str, digests: Sequence[str], name: str) -> dict[str, str]:
        """Digest to Slack file, each ready to be shown; TryLater where Slack does not get ready. `name`: of the job."""
        known = await self._book.uploads(team, digests)
        missing = {digest: f"{name}-{at}.png" for at, digest in enumerate(digests, start=1) if digest not in known}
        made = await asyncio.gather(*(self._upload(client, digest, file) for digest, file in missing.items()))
        for digest, file in zip(missing, made, strict=True):
            await self._book.uploaded(team, digest, file)
        return known | dict(zip(missing, made, strict=True))

    async def share(self, client: AsyncWebClient, channel: str, file: Path, title: str) -> None:
        """Post a file of any kind; the share happens while Slack works on the file, so it is waited for."""
        content = await asyncio.to_thread(file.read_bytes)
        answer = await client.files_upload_v2(channel=channel, filename=FILE, content=content, title=title)
        await self._ready(client, str(answer["files"][0]["id"]))

    async def forget(self, team: str, digests: Sequence[str]) -> None:
        """Slack does not show these files: the next time they are uploaded anew."""
        await self._book.forget_uploads(team, digests)

    async def delete(self, client: AsyncWebClient, files: Sequence[str]) -> None:
        """These uploads go from Slack; one that is gone already is no error."""
        for file in files:
            try:
                await client.files_delete(file=file)
            except SlackApiError as error:
                if slack_trouble.code(error) not in ("file_not_found", "file_deleted"):
                    raise
        await self._book.unlearn(files)

    async def _upload(self, client: AsyncWebClient, digest: str, filename: str) -> str:
        content = await asyncio.to_thread(self._shown, digest)
        for attempt in range(1, TRIES + 1):
            answer = await client.files_upload_v2(filename=filename, content=content, title=filename)
            file = str(answer["files"][0]["id"])
            try:
                await self._ready(client, file)
            except NotReady:
                log.warning("Slack did not get ready with %s (try %d)", filename, attempt)
            else:
                return file
        raise TryLater(LATER_S, "Slack does not get ready with a picture")

    async def _ready(self, client: AsyncWebClient, file: str) -> None:
        for seconds in POLLS_S:
            told = await client.files_info(file=file)
            if told["file"].get("mimetype"):
                return
            await self._pause(seconds)
        raise NotReady(file)

    def _shown(self, digest: str) -> bytes:
        return enlarged(self._path(digest).read_bytes(), self._side)
