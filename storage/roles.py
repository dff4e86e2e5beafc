"""What a role allows: bounds by the names of roles, in the settings and by an admin's word, and which of them count.

Everybody is a `member`; `moderator` and `admin` are the house's own roles, and Discord's are `discord:ROLE_ID`, by id
because any server may call a role as it likes. A person has, of every kind, the most generous bound that any of their
roles states; what an admin set for the person goes before it. Knows rows of the bound table and no job.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.dialects import upsert
from storage.errors import UserError
from storage.job import Caller

if TYPE_CHECKING:
    from storage.settings import StoreSettings

MEMBER, MODERATOR, ADMIN = "member", "moderator", "admin"
MOST = 10_000_000

Stated = Mapping[str, float]  # kind to amount; math.inf: no bound


class Kind(StrEnum):
    """What may be bounded."""

    QUEUED = "queued"  # waiting jobs
    RUNNING = "running"  # jobs in engines at once
    SECONDS = "seconds"  # GPU-seconds in a day
    COOLDOWN = "cooldown"  # seconds between two dreams


def named(caller: Caller) -> tuple[str, ...]:
    """The caller's roles."""
    house = (MODERATOR,) * caller.moderator + (ADMIN,) * caller.admin
    return (MEMBER, *house, *caller.roles)


def generous(stated: Iterable[Stated]) -> dict[str, float]:
    """Of each kind the largest that is stated, of a cooldown the shortest."""
    found: dict[str, float] = {}
    for one in stated:
        for kind, amount in one.items():
            better = min if kind == Kind.COOLDOWN else max
            found[kind] = better(found.get(kind, amount), amount)
    return found


def of_settings(settings: StoreSettings, role: str) -> dict[str, float]:
    """What the settings say of a role, by their plain names or in its own table."""
    limits = settings.roles.get(role)
    return _plain(settings, role) | ({} if limits is None else limits.stated())


def _plain(settings: StoreSettings, role: str) -> dict[str, float]:
    def bound(value: float | None) -> float:
        return math.inf if value is None else value

    if role == MEMBER:
        return {
            Kind.QUEUED: settings.queued_limit,
            Kind.RUNNING: bound(settings.running_limit),
            Kind.SECONDS: bound(settings.daily_seconds),
            Kind.COOLDOWN: settings.cooldown_s,
        }
    if role == MODERATOR:
        return {Kind.SECONDS: bound(settings.daily_seconds_moderator), Kind.COOLDOWN: 0.0}
    return {Kind.SECONDS: math.inf, Kind.COOLDOWN: 0.0} if role == ADMIN else {}


async def told(connection: AsyncConnection, surface: str, subjects: Iterable[str]) -> dict[str, dict[str, float]]:
    """What admins have set, by subject: `person:ID`, `role:NAME`, `guild:ID`."""
    one = schema.bound.c
    query = select(one.subject, one.kind, one.amount).where(one.surface == surface, one.subject.in_(list(subjects)))
    found: dict[str, dict[str, float]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.subject, {})[row.kind] = row.amount
    return found


async def tell(connection: AsyncConnection, surface: str, subject: str, kind: Kind, amount: float | None) -> None:
    """An admin sets a bound, or with None takes it back."""
    one = schema.bound.c
    if amount is None:
        gone = delete(schema.bound).where(one.surface == surface, one.subject == subject, one.kind == kind.value)
        await connection.execute(gone)
        return
    new = upsert(schema.bound).values(surface=surface, subject=subject, kind=kind.value, amount=amount)
    same = ["surface", "subject", "kind"]
    await connection.execute(new.on_conflict_do_update(index_elements=same, set_={"amount": amount}))


def subject(who: str) -> str:
    """`role:NAME`, `guild:ID`, or a person's id, as the bound table names it; UserError for a role nobody has."""
    what, colon, name = who.partition(":")
    if what == "role" and colon:
        from storage.settings import ROLE

        if not ROLE.fullmatch(name):
            raise UserError(f"A role is member, moderator, admin or discord:ROLE_ID; {name[:40]!r} is not.")
        return who
    return who if what == "guild" and colon and name else f"person:{who}"


def amount(text: str) -> tuple[Kind, float | None]:
    """`3` or `queued=3`, `running=2`, `seconds=600`, `cooldown=30`; `none` takes it back, `unlimited` is no bound."""
    name, equals, number = text.rpartition("=")
    kind = name if equals else Kind.QUEUED.value
    if kind not in set(Kind):
        raise UserError(f"What is limited is one of {', '.join(Kind)}; {kind[:40]!r} is not.")
    if number == "none":
        return Kind(kind), None
    if number == "unlimited":
        return Kind(kind), 0.0 if kind == Kind.COOLDOWN else math.inf
    if not re.fullmatch(r"[0-9]{1,8}", number) or int(number) > MOST:
        raise UserError(f"{kind} is a whole number from 0 to {MOST}, none or unlimited; {number[:40]!r} is not.")
    return Kind(kind), float(number)
