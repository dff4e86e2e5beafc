"""A queue without a database: the pure functions of fairness, driven by the steps of `tests.strategies`.

Keeps, beside each counter, what the counter must add up to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from storage import fairness
from storage.fairness import Guild, Head, User
from tests.strategies import GUILDS, USERS, Claim, Drop, Fail, Leave, Pause, Step, Submit

ROOM, CAP = 4, 3


@dataclass
class Account:
    """What a counter is made of."""

    lifted: int = 0
    settled: int = 0


@dataclass
class Running:
    """A job in the engine, and what its user and guild were charged for it."""

    head: Head
    charged: tuple[int, int]


@dataclass
class Day:
    """The whole state; every step keeps it consistent, every invariant reads it."""

    weights: Sequence[float]
    guilds: dict[int, Guild] = field(init=False)
    users: dict[int, User] = field(init=False)
    waiting: dict[int, list[Head]] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)
    over: list[Head] = field(default_factory=list)
    submitted: int = 0
    claims: int = 0

    def __post_init__(self) -> None:
        self.users = {n: User(id=n, guild=n % GUILDS, weight=self.weights[n]) for n in range(USERS)}
        self.guilds = {n: Guild(id=n, weight=self.weights[USERS + n]) for n in range(GUILDS)}
        self.accounts = {("user", n): Account() for n in range(USERS)} | {
            ("guild", n): Account() for n in range(GUILDS)
        }

    def take(self, step: Step) -> list[Head]:
        """Let it happen; what was claimed."""
        match step:
            case Submit():
                self.submit(step)
            case Claim():
                return self.claim(min(step.room, ROOM - len(self.running)))
            case Leave() | Fail():
                self.leave(step)
            case Drop():
                self.over += [self.waiting[step.user].pop(0)] if self.waiting.get(step.user) else []
            case Pause():
                self.pause(step.user)
        return []

    def busy_users(self, *, paused: bool = False) -> set[int]:
        """Who has something waiting or running."""
        some = {user for user, heads in self.waiting.items() if heads} | {one.head.user for one in self.running}
        return {user for user in some if paused or not self.users[user].paused}

    def submit(self, step: Submit) -> None:
        """A newcomer is lifted before their job waits."""
        self.lift(step.user)
        for time in range(step.times):
            head = Head(job=f"{self.submitted:04}", user=step.user, cost=step.cost, solo=step.solo and time == 0)
            self.waiting.setdefault(step.user, []).append(head)
            self.submitted += 1

    def lift(self, user: int) -> None:
        """As storage.counters does it: the guild if none of it is busy, then the user."""
        busy, guild = self.busy_users(), self.users[user].guild
        if user not in busy:
            guilds = {self.users[other].guild for other in busy}
            if guild not in guilds:
                lifted = fairness.lift(self.guilds[guild], self.guilds.values(), guilds)
                self.accounts["guild", guild].lifted += lifted.service - self.guilds[guild].service
                self.guilds[guild] = lifted
            mates = [other for other in self.users.values() if other.guild == guild]
            lifted_user = fairness.lift(self.users[user], mates, {other.id for other in mates if other.id in busy})
            self.accounts["user", user].lifted += lifted_user.service - self.users[user].service
            self.users[user] = lifted_user

    def claim(self, room: int) -> list[Head]:
        """What fairness picks runs now, and is charged."""
        users = [replace(user, running=self.count(user.id)) for user in self.users.values()]
        if any(one.head.solo for one in self.running):
            return []
        busy = bool(self.running)
        chosen = fairness.picks(self.guilds.values(), users, self.waiting, room, cap=CAP, busy=busy)
        for head in chosen:
            self.waiting[head.user].remove(head)
            self.claims += 1
            user, guild = self.users[head.user], self.guilds[self.users[head.user].guild]
            self.users[head.user] = fairness.charge(user, head.cost, self.claims)
            self.guilds[guild.id] = fairness.charge(guild, head.cost, self.claims)
            prices = fairness.price(head.cost, user.weight), fairness.price(head.cost, guild.weight)
            self.running.append(Running(head, prices))
        return chosen

    def leave(self, step: Leave | Fail) -> None:
        """Settled if it used something, refunded if it failed or crashed; a crashed job waits again, first."""
        if not self.running:
            return
        one = self.running.pop(step.nth % len(self.running))
        share = step.share if isinstance(step, Leave) else None
        if isinstance(step, Leave) and share is None:
            self.waiting[one.head.user].insert(0, one.head)
        else:
            self.over.append(one.head)
        self.pay(one, None if share is None else share * one.head.cost)

    def pay(self, one: Running, used: float | None) -> None:
        """Move the two counters."""
        user, guild = self.users[one.head.user], self.guilds[self.users[one.head.user].guild]
        after = [
            fairness.refund(share.service, charged)
            if used is None
            else fairness.settle(share.service, charged, used, share.weight)
            for share, charged in zip((user, guild), one.charged, strict=True)
        ]
        for name, share in (("user", user), ("guild", guild)):
            self.accounts[name, share.id].settled += round((used or 0) * fairness.MICRO / share.weight)
        self.users[user.id] = replace(user, service=after[0])
        self.guilds[guild.id] = replace(guild, service=after[1])

    def pause(self, user: int) -> None:
        """Or go on, without credit for the time."""
        if self.users[user].paused:
            self.lift(user)
        self.users[user] = replace(self.users[user], paused=not self.users[user].paused)

    def count(self, user: int) -> int:
        """How many jobs of the user run."""
        return sum(one.head.user == user for one in self.running)
