"""Admin commands as text: what stands after `/admin`, or after Slack's `/dream-admin`.

Knows words; rights are checked by `bot.admin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot.admin import Admin
from bot.cards import Card
from storage.errors import UserError
from storage.job import Caller

Act = Callable[..., Awaitable[Card]]


class AdminLines:
    """Admin verbs, by their words."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._alone: dict[str, Act] = {
            "pause": admin.pause,
            "resume": admin.resume,
            "drain": admin.drain,
            "rescue": admin.rescue,
            "queue": admin.queue,
            "audit": admin.audit,
            "stats": admin.stats,
        }
        self._person: dict[str, Act] = {"ban": admin.ban, "unban": admin.unban}
        self._job: dict[str, Act] = {"withhold": admin.withhold, "release": admin.release}

    async def answer(self, caller: Caller, text: str) -> Card:
        """The card that answers; UserError names the verbs."""
        verb, *rest = text.split() or [""]
        if verb in self._alone and not rest:
            return await self._alone[verb](caller)
        if verb in self._person and len(rest) == 1:
            return await self._person[verb](caller, caller.surface, rest[0])
        if verb in self._job and len(rest) == 1:
            return await self._job[verb](caller, rest[0])
        if verb == "limit" and len(rest) == 2:
            return await self._admin.limit(caller, caller.surface, *rest)
        if verb == "weight" and len(rest) == 2:
            return await self._admin.weight(caller, caller.surface, *rest, of_guild=False)
        if verb == "purge" and len(rest) <= 1:
            return await self._admin.purge(caller, *(rest or ["7"]))
        known = (
            f"{', '.join(self._alone)}, ban USER, unban USER, limit USER N, weight USER SHARE, withhold JOB,"
            " release JOB, purge DAYS"
        )
        raise UserError(f"/admin takes one of {known}; {text[:40]!r} is not.")
