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

submits = st.builds(Submit, users, costs, st.sampled_from([False] * 9 + [True]), st.sampled_from([1, 1, 2, 5]))
claims = st.builds(Claim, st.integers(0, 4))
leaves = st.builds(Leave, st.integers(0, 7), st.sampled_from([None, 0.0, 0.5, 1.0, 1.5]))
steps: st.SearchStrategy[Step] = st.one_of(
    submits, submits, claims, claims, leaves, st.builds(Fail, st.integers(0, 7)), st.builds(Drop, users),
    st.builds(Pause, users),
)  # fmt: skip
days = st.lists(steps, min_size=1, max_size=40)
weight_lists = st.lists(weights, min_size=USERS + GUILDS, max_size=USERS + GUILDS)
