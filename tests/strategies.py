"""Hypothesis strategies: people, costs, and a day in the life of the queue."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

GUILDS, USERS = 2, 5  # user n belongs to guild n % GUILDS

costs = st.integers(1, 20).map(float)  # GPU-seconds
weights = st.sampled_from([0.5, 1.0, 2.0, 3.0])
users = st.integers(0, USERS - 1)


@dataclass(frozen=True)
class Submit:
    """Somebody asks for a dream, or for several; only the first may be one that must run alone."""

    user: int
    cost: float
    solo: bool = False
    times: int = 1


@dataclass(frozen=True)
class Claim:
    """The engine fills its free slots, at most so many."""

    room: int


@dataclass(frozen=True)
class Leave:
    """The nth running job ends; `share` of its estimate was used, None if it crashed and goes back to wait."""

    nth: int
    share: float | None


@dataclass(frozen=True)
class Fail:
    """The nth running job fails through no fault of its owner."""

    nth: int


@dataclass(frozen=True)
class Drop:
    """Somebody cancels their oldest waiting job."""

    user: int


@dataclass(frozen=True)
class Pause:
    """Somebody is paused, or goes on."""

    user: int


Step = Submit | Claim | Leave | Fail | Drop | Pause


def step(number: int) -> Step:
    """The step that a number stands for. One draw a step instead of five: long days are cheap."""
    number, kind = divmod(number, 10)
    number, user = divmod(number, USERS)
    number, nth = divmod(number, 8)
    number, cost = divmod(number, 20)
    match kind:
        case 0 | 1:
            return Submit(user, cost + 1.0, solo=number % 12 == 0, times=(1, 1, 1, 5)[nth % 4])
        case 2 | 3 | 4:
            return Claim(nth % 5)
        case 5 | 6 | 7:
            return Leave(nth, (None, 0.0, 0.5, 1.0, 1.5)[cost % 5])
        case 8:
            return Fail(nth) if cost % 2 else Drop(user)
        case _:
            return Pause(user) if cost % 3 == 0 else Claim(4)


steps = st.integers(0, 10 * USERS * 8 * 20 * 12 - 1).map(step)
days = st.lists(steps, min_size=30, max_size=60)
weight_lists = st.lists(weights, min_size=USERS + GUILDS, max_size=USERS + GUILDS)
