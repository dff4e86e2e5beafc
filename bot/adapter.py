"""What a surface must offer: the seam between the chat-free rooms and one chat library.

An adapter turns cards into messages; it knows no store and decides nothing about jobs. What it cannot do now it says by
`TryLater`, what it can never do by `Undeliverable`; anything else that it raises is tried again, later and later.
"""

from __future__ import annotations

from typing import Protocol

from bot.cards import Card


class TryLater(Exception):
    """The surface said when to come back: a rate limit, an outage."""

    def __init__(self, seconds: float, why: str = "the surface asked for a pause") -> None:
        super().__init__(f"{why}: {seconds:g} s")
        self.seconds = max(0.0, seconds)


class Undeliverable(Exception):
    """This message can never arrive: the channel is gone, or closed to us. Its text is the reason, for people."""


class Adapter(Protocol):
    """One surface. `reply_to` is the address that this adapter itself wrote when the job was accepted."""

    surface: str

    async def run(self) -> None:
        """Listen for commands until `close`."""

    def channel(self, reply_to: str) -> str:
        """What an address has in common with those that share its rate limit: usually the channel."""

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """Send a final reply and return its message id. The same nonce twice is one message, whatever was killed."""

    async def edit(self, reply_to: str, card: Card) -> None:
        """Show progress. May be lost, may do nothing; is never called after the final reply was posted."""

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None:
        """Write over a final reply, posted as `message_id`: its pictures, too, become the card's, which may be none."""

    async def close(self) -> None:
        """Stop `run` and let go of every connection."""
