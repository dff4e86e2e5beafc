"""The house: everything that an adapter may call, put together once a store is open. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bot.admin import Admin
from bot.commands import Commands
from bot.gestures import Gestures
from bot.hand_in import hand_in
from bot.phrases import Phrases
from bot.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What people may do: by typed options (`commands`, `admin`), by lines of text (`phrases`), by pressing.

    `commands` and `admin` raise UserError for what a person did wrong; `phrases` and `gestures` answer with a card.
    """

    commands: Commands
    admin: Admin
    phrases: Phrases
    gestures: Gestures
    picture: Callable[[str], Path]  # a card's image digest to its PNG
    hand_in: Callable[[bytes], str]  # a picture's bytes to its digest; UserError if it is none. Not on the loop
    readdress: Callable[[str, str, str], Awaitable[None]]  # job, old and new reply_to: its message is known now

    @classmethod
    def of(cls, store: Store) -> Self:
        """The house on an open store."""
        commands, admin = Commands(store), Admin(store)
        return cls(
            commands=commands,
            admin=admin,
            phrases=Phrases(commands, admin),
            gestures=Gestures(commands),
            picture=store.images.path,
            hand_in=lambda content: hand_in(content, store.images),
            readdress=store.outbox.readdress,
        )
