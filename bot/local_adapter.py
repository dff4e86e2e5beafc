"""The local surface: replies nobody waits for in person go into a mailbox of files.

    <home>/mail/<guild>/<user>/<job>.json

Knows how to write a letter so that it is there once and whole, whatever is killed when. Does not know people: names
become folders only by `slug`, so no name leads out of the mailbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict
from pathlib import Path

from bot.cards import Card
from storage.job import Caller

SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
SLUG = re.compile(SAFE.pattern + r"(~[0-9a-f]{16})?|~[0-9a-f]{16}")


def slug(name: str) -> str:
    """A folder's name for any text: itself where it is harmless, else its harmless part and a digest."""
    if SAFE.fullmatch(name):
        return name
    harmless = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{harmless}~{digest[:16]}"


def address(caller: Caller) -> str:
    """The reply-to of a person on this surface."""
    return f"{slug(caller.guild)}/{slug(caller.user)}"


class LocalAdapter:
    """Delivers into files. There is nothing to listen to: the terminal commands write their jobs themselves."""

    surface = "local"

    def __init__(self, home: Path) -> None:
        self._root = home / "mail"
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Nothing arrives here; wait for the end."""
        await self._closed.wait()

    def channel(self, reply_to: str) -> str:
        """Every mailbox is its own."""
        return reply_to

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """Put the letter into the mailbox; one that is there already stays as it is."""
        target = self.letter(reply_to, nonce)
        await asyncio.to_thread(_place, target, _written(card))
        return str(target.relative_to(self._root))

    async def edit(self, reply_to: str, card: Card) -> None:
        """A mailbox shows no progress."""

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None:
        """Write the letter anew."""
        target = self.letter(reply_to, Path(message_id).stem)
        await asyncio.to_thread(_place, target, _written(card), anew=True)

    async def close(self) -> None:
        """End `run`."""
        self._closed.set()

    def letter(self, reply_to: str, nonce: str) -> Path:
        """The file of one letter; ValueError for an address that this adapter never wrote."""
        parts = reply_to.split("/")
        if len(parts) != 2 or not all(SLUG.fullmatch(part) for part in (*parts, nonce)):
            raise ValueError(f"not an address of the local surface: {reply_to!r}, {nonce!r}")
        return self._root.joinpath(*parts, f"{nonce}.json")


def _written(card: Card) -> bytes:
    return json.dumps(asdict(card), ensure_ascii=False).encode()


def _place(target: Path, letter: bytes, *, anew: bool = False) -> None:
    """Write whole, then link: a link appears at once or not at all, and never replaces, except `anew`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(8)}")
    try:
        with draft.open("wb") as file:
            file.write(letter)
            file.flush()
            os.fsync(file.fileno())
        if anew:
            draft.replace(target)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
