"""What a surface must offer: the seam between the chat-free rooms and one chat library.

An adapter turns cards into messages; it knows no store and decides nothing about jobs.
"""

from __future__ import annotations

from typing import Protocol

from bot.cards import Card


class Adapter(Protocol):
    """One surface. `reply_to` is the address that this adapter itself wrote when the job was accepted."""

    surface: str

    async def run(self) -> None:
        """Listen for commands until `close`."""

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """Send a final reply and return its message id. The same nonce twice is one message, whatever was killed."""

    async def edit(self, reply_to: str, card: Card) -> None:
        """Show progress. May be lost, may do nothing."""

    async def close(self) -> None:
        """Stop `run` and let go of every connection."""
