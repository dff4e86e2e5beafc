"""Who goes next: two levels of virtual service counters, guild then user, after VTC (arXiv 2401.00588).

Whoever has received the least GPU work for their weight goes first; one person's own jobs keep their order. A job is
charged its estimate when it is claimed and settled to the truth, or refunded, when it leaves. Who comes back after an
absence is lifted to where the others are, so absence banks no credit. Pure: knows nothing of rows, time or engines.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

MICRO = 1_000_000  # counters are whole millionths of a GPU-second, so that a refund is exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Guild:
    """One guild's counter."""

    id: int
    service: int = 0  # work received, divided by the weight
    last: int = 0  # the claim that served it last, counted from 1; 0: never
    weight: float = 1.0
    left: int | None = None  # jobs that may be started; None: as many as there is room for


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user's counter within one guild."""

    id: int
    guild: int
    service: int = 0
    last: int = 0
    weight: float = 1.0
    running: int = 0  # jobs in the engine that asks
    paused: bool = False
    person: int = 0  # the same in every guild
    left: int | None = None  # jobs of this person that may be started, in all guilds together; None: no bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A waiting job, as far as fairness sees it."""

    job: str
    user: int
    cost: float = 1.0  # estimated GPU-seconds
    solo: bool = False


Share = TypeVar("Share", Guild, User)
Key = tuple[int, int, int]


def price(cost: float, weight: float) -> int:
    """What `cost` GPU-seconds add to a counter of this weight; at least 1, so that turns always move on."""
    return max(1, round(cost * MICRO / weight))


def charge(share: Share, cost: float, last: int) -> Share:
    """The counter after a claim, the `last`-th of all."""
    return replace(share, service=share.service + price(cost, share.weight), last=last)


def settle(service: int, charged: int, used: float, weight: float) -> int:
    """The counter when a job leaves that was charged `charged` and used `used` GPU-seconds."""
    return service - charged + round(used * MICRO / weight)


def refund(service: int, charged: int) -> int:
    """The counter when a job leaves through no fault of its owner, or goes back to wait."""
    return service - charged


def lift(share: Share, siblings: Iterable[Share], busy: Iterable[int]) -> Share:
    """The counter of who becomes busy: raised to the least of the busy siblings, or to whoever was served last."""
    others: list[Share] = [sibling for sibling in siblings if sibling.id != share.id]
    working = set(busy)
    if floor := [other.service for other in others if other.id in working]:
        return replace(share, service=max(share.service, min(floor)))
    others.insert(0, share)
    return replace(share, service=max(share.service, max(others, key=attrgetter("last")).service))


def fair_order(
    guilds: Iterable[Guild], users: Iterable[User], heads: Iterable[Head], room: int, *, cap: int = 1 << 30
) -> list[Head]:
    """Up to `room` of the heads, one a user, in the order in which they are to be claimed."""
    return picks(guilds, users, {head.user: [head] for head in heads}, room, cap=cap)


def picks(
    guilds: Iterable[Guild],
    users: Iterable[User],
    waiting: Mapping[int, Sequence[Head]],
    room: int,
    *,
    cap: int = 1 << 30,
    busy: bool = False,
) -> list[Head]:
    """What an engine with `room` free slots claims now; `waiting` has each user's jobs in their own order.

    A job that must run alone waits for an engine that is not `busy`. When its turn has come, nothing passes it: the
    engine runs dry and then takes it, so a steady stream of others cannot starve it.
    """
    chosen: list[Head] = []
    if room < 1:
        return chosen
    for head in turns(guilds, users, waiting, cap=cap):
        if head.solo:
            return chosen if busy or chosen else [head]
        chosen.append(head)
        if len(chosen) == room:
            break
    return chosen


def turns(
    guilds: Iterable[Guild], users: Iterable[User], waiting: Mapping[int, Sequence[Head]], *, cap: int = 1 << 30
) -> Iterator[Head]:
    """Every waiting job in the order of service, each charged before the next is chosen.

    A user with `cap` jobs running is passed over, and whoever may have no more started. Ties go to whoever was served
    longer ago, then to the older id.
    """
    guild = {share.id: share for share in guilds}
    user = {share.id: share for share in users}
    queues = {id_: deque(heads) for id_, heads in waiting.items() if _eligible(user[id_], heads, cap)}
    lines: dict[int, list[Key]] = {}
    for id_ in queues:
        lines.setdefault(user[id_].guild, []).append(_key(user[id_]))
    for line in lines.values():
        heapq.heapify(line)
    row = [_key(guild[id_]) for id_ in lines if guild[id_].left != 0]
    heapq.heapify(row)
    left: dict[int, int] = {}  # of who asks in several guilds, the most that one of them allows
    for one in user.values():
        if one.left is not None:
            left[one.person] = max(left.get(one.person, 0), one.left)
    last = max([0, *(share.last for share in guild.values()), *(share.last for share in user.values())])
    while row:
        place = heapq.heappop(row)[-1]
        who = heapq.heappop(lines[place])[-1]
        if left.get(person := user[who].person) != 0:
            head = queues[who].popleft()
            yield head
            last += 1
            guild[place] = _less(charge(guild[place], head.cost, last))
            user[who] = replace(charge(user[who], head.cost, last), running=user[who].running + 1)
            if person in left:
                left[person] -= 1
            if _eligible(user[who], queues[who], cap):
                heapq.heappush(lines[place], _key(user[who]))
        if lines[place] and guild[place].left != 0:
            heapq.heappush(row, _key(guild[place]))


def _eligible(user: User, heads: Sequence[Head], cap: int) -> bool:
    return bool(heads) and not user.paused and user.running < cap


def _less(guild: Guild) -> Guild:
    return guild if guild.left is None else replace(guild, left=guild.left - 1)


def _key(share: Guild | User) -> Key:
    return (share.service, share.last, share.id)
