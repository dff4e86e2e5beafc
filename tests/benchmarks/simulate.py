"""Ten thousand people on 1 to 64 GPUs: `python -m tests.benchmarks.simulate [--people 10000] [--hours 6]`.

A simulation, not a measurement: the order is decided by the real `storage.fairness`, on a clock that is not real.
People come at random, half of them in the evening, and ask for a dream, sometimes for a handful; one in a thousand asks
for hundreds at once. What a dream costs is given on the command line and told with the result. Pure and seeded.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from storage import fairness
from storage.fairness import Guild, Head, User
from tests.benchmarks.common import keep, table

ROOM, CAP = 8, 6  # seats of an engine, and how many of them may be one person's: the defaults
GUILD_SIZE = 50  # people
MANY, ONE_IN, WHO = 300, 1_000, 7  # dreams at once, of one person in a thousand
COUNTS, SHARES = (1, 2, 4), (0.7, 0.2, 0.1)  # dreams that are asked for together
OFTEN = sum(count * share for count, share in zip(COUNTS, SHARES, strict=True))


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody asks for `count` dreams of `cost` GPU-seconds each."""

    at: float
    user: int
    count: int
    cost: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Of one dream: seconds until a GPU took it, and until it was done; None: not by the end."""

    user: int
    begun_s: float | None
    done_s: float | None
    so_far_s: float  # until it was begun, or until the end


@dataclass(slots=True)
class Engine:
    """A GPU whose dreams share it evenly: `work` is what each of them has received since the beginning."""

    at: float = 0.0
    work: float = 0.0
    ends: list[tuple[float, str, int]] = field(default_factory=list)  # the work at which a dream is done, it, and whose

    def until(self, now: float) -> None:
        """Let time pass."""
        if self.ends:
            self.work += (now - self.at) / len(self.ends)
        self.at = now

    def next_end(self) -> float:
        """When its next dream is done."""
        return self.at + (self.ends[0][0] - self.work) * len(self.ends) if self.ends else math.inf

    def of(self, user: int) -> int:
        """How many of its seats are this person's."""
        return sum(whose == user for _, _, whose in self.ends)


class World:
    """Who waits, who runs where, and everybody's counters."""

    def __init__(self, people: int, gpus: int) -> None:
        self.guilds = [Guild(id=number) for number in range(math.ceil(people / GUILD_SIZE))]
        self.users = [User(id=number, guild=number // GUILD_SIZE) for number in range(people)]
        self.engines = [Engine() for _ in range(gpus)]
        self.lines: dict[int, dict[int, deque[Head]]] = {}  # who waits, by guild
        self.open: dict[int, int] = {}  # dreams of a person that wait or run
        self.turn = 0

    def submit(self, one: Arrival, number: int) -> None:
        """Queue, and lift who was away, as `storage.counters.lift` does; `number`: of the first of its dreams."""
        user = self.users[one.user]
        if one.user not in self.open:
            places = {self.users[id_].guild for id_ in self.open}
            if user.guild not in places:
                self.guilds[user.guild] = fairness.lift(self.guilds[user.guild], self.guilds, places)
            mates = self.users[user.guild * GUILD_SIZE : (user.guild + 1) * GUILD_SIZE]
            self.users[one.user] = fairness.lift(user, mates, [mate.id for mate in mates if mate.id in self.open])
        self.open[one.user] = self.open.get(one.user, 0) + one.count
        line = self.lines.setdefault(user.guild, {}).setdefault(one.user, deque())
        line.extend(Head(job=str(number + n), user=one.user, cost=one.cost) for n in range(one.count))

    def claim(self) -> Iterator[Head]:
        """Dreams that start now: every engine with a free seat takes what the real order gives it."""
        for engine in sorted(self.engines, key=lambda one: len(one.ends)):
            while self.lines and len(engine.ends) < ROOM and (head := self._next(engine)):
                yield head

    def _next(self, engine: Engine) -> Head | None:
        """The first of the real order: of the least served guild where somebody may, so a guild at a time is asked."""
        here = {whose for _, _, whose in engine.ends}
        for guild in sorted((self.guilds[id_] for id_ in self.lines), key=lambda one: (one.service, one.last, one.id)):
            line = self.lines[guild.id]
            users = [
                replace(self.users[id_], running=engine.of(id_)) if id_ in here else self.users[id_] for id_ in line
            ]
            heads = {id_: (waits[0],) for id_, waits in line.items()}
            for head in fairness.picks([guild], users, heads, 1, cap=CAP):
                self._start(engine, head)
                return head
        return None

    def _start(self, engine: Engine, head: Head) -> None:
        user, self.turn = self.users[head.user], self.turn + 1
        self.users[user.id] = fairness.charge(user, head.cost, self.turn)
        self.guilds[user.guild] = fairness.charge(self.guilds[user.guild], head.cost, self.turn)
        line = self.lines[user.guild]
        line[user.id].popleft()
        if not line[user.id]:
            del line[user.id]
        if not line:
            del self.lines[user.guild]
        heapq.heappush(engine.ends, (engine.work + head.cost, head.job, user.id))

    def finish(self, engine: Engine) -> str:
        """The dream that is done."""
        _, job, user = heapq.heappop(engine.ends)
        self.open[user] -= 1
        if not self.open[user]:
            del self.open[user]
        return job


def arrivals(people: int, hours: float, a_day: float, cost: float, seed: int) -> list[Arrival]:
    """All that is asked for: `a_day` dreams a person on average, few of most and many of some; costs log-normal."""
    draw, long_s = np.random.default_rng(seed), hours * 3_600
    made: list[Arrival] = []
    for user in range(people):
        keen = float(draw.lognormal(-0.5, 1.0))  # of mean 1
        for _ in range(int(draw.poisson(a_day * hours / 24 * keen / OFTEN))):
            evening = draw.uniform() < 0.5
            at = float(draw.normal(0.7, 0.1) % 1.0 if evening else draw.uniform()) * long_s
            count = int(draw.choice(COUNTS, p=SHARES))
            made.append(Arrival(at, user, count, cost * float(draw.lognormal(-0.125, 0.5))))
        if user % ONE_IN == WHO:
            made.append(Arrival(long_s / 2, user, MANY, cost))
    return sorted(made, key=lambda one: one.at)


def simulate(asked: Sequence[Arrival], people: int, gpus: int) -> list[Wait]:
    """What every dream waited, up to the moment of the last arrival."""
    world, coming, now = World(people, gpus), deque(asked), 0.0
    asked_at: dict[str, tuple[int, float]] = {}
    begun: dict[str, float] = {}
    done: dict[str, float] = {}
    while coming:
        engine = min(world.engines, key=Engine.next_end)
        now = min(engine.next_end(), coming[0].at)
        for one in world.engines:
            one.until(now)
        if coming[0].at == now:
            number, who = len(asked_at), coming.popleft()
            asked_at |= {str(number + n): (who.user, now) for n in range(who.count)}
            world.submit(who, number)
        else:
            done[world.finish(engine)] = now
        begun |= {head.job: now for head in world.claim()}
    return [
        Wait(user, _between(at, begun.get(job)), _between(at, done.get(job)), begun.get(job, now) - at)
        for job, (user, at) in asked_at.items()
    ]


def _between(at: float, then: float | None) -> float | None:
    return None if then is None else then - at


def row(waits: Sequence[Wait], gpus: int) -> dict[str, Any]:
    """How many were begun, and what they waited; of those that were not, what they waited so far.

    Apart from the others: the few who asked for hundreds at once.
    """
    many = [wait for wait in waits if wait.user % ONE_IN != WHO]
    few = [wait.so_far_s for wait in waits if wait.user % ONE_IN == WHO]
    p50, p95, p99 = (float(np.percentile([wait.so_far_s for wait in many], q)) for q in (50, 95, 99))
    told = {"gpus": gpus, "dreams": len(waits), "begun": sum(wait.begun_s is not None for wait in waits) / len(waits)}
    told |= {"wait_p50_s": p50, "wait_p95_s": p95, "wait_p99_s": p99}
    done = [wait.done_s for wait in many if wait.done_s is not None]
    return told | {"done_p50_s": float(np.percentile(done, 50)), "few_wait_p50_s": float(np.percentile(few, 50))}


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--a-day", type=float, default=5.0, help="dreams a person, on average")
    parser.add_argument("--cost", type=float, default=8.0, help="GPU-seconds of a dream, on average")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 16, 64])
    parser.add_argument("--seed", type=int, default=7)
    told = parser.parse_args()
    asked = arrivals(told.people, told.hours, told.a_day, told.cost, told.seed)
    load = sum(one.count * one.cost for one in asked) / (told.hours * 3_600)
    rows = [row(simulate(asked, told.people, gpus), gpus) | {"load": load / gpus} for gpus in told.gpus]
    table(rows)
    keep("simulate", {"assumed": vars(told), "rows": rows})


if __name__ == "__main__":
    main()
