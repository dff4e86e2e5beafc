"""The ten invariants of who goes next, on the pure functions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import fairness
from storage.fairness import MICRO, Guild, Head, User
from tests.storage.day import CAP, ROOM, Day
from tests.strategies import Claim, Step, Submit, costs, days, weight_lists, weights

often = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@often
@given(days, weight_lists)
def test_every_day(day: Sequence[Step], weights_: Sequence[float]) -> None:
    """Whatever happens: no job is lost, no slot idles, nobody passes their own, nothing is overcharged or overrun."""
    state = Day(weights_)
    for step in day:
        before = {user: list(heads) for user, heads in state.waiting.items()}
        room = min(step.room, ROOM - len(state.running)) if isinstance(step, Claim) else 0
        alone = any(one.head.solo for one in state.running)
        chosen = state.take(step)
        _conserved(state)
        _in_own_order(before, chosen)
        assert len(chosen) <= room
        _within_limits(state, chosen)
        _paid_exactly(state)
        if isinstance(step, Claim) and not alone:
            _work_conserving(state, room - len(chosen))


def _conserved(state: Day) -> None:
    """I1: each job is in exactly one place."""
    places = [
        *state.over,
        *(one.head for one in state.running),
        *(h for heads in state.waiting.values() for h in heads),
    ]
    assert sorted(head.job for head in places) == [f"{n:04}" for n in range(state.submitted)]


def _work_conserving(state: Day, free: int) -> None:
    """I2: a slot stays free only if nothing may take it, or a job that must run alone is waiting for the others."""
    able = [u for u, heads in state.waiting.items() if heads and not state.users[u].paused and state.count(u) < CAP]
    if free > 0 and able and not any(one.head.solo for one in state.running):
        users = [replace(user, running=state.count(user.id)) for user in state.users.values()]
        following = next(fairness.turns(state.guilds.values(), users, state.waiting, cap=CAP))
        assert following.solo
        assert state.running


def _in_own_order(before: dict[int, list[Head]], chosen: list[Head]) -> None:
    """I3: one person's jobs keep their order."""
    for user, heads in before.items():
        mine = [head for head in chosen if head.user == user]
        assert mine == heads[: len(mine)]


def _within_limits(state: Day, chosen: list[Head]) -> None:
    """I8 and I10: slots and the cap hold, who must be alone is, and the paused do not start."""
    assert len(state.running) <= ROOM
    assert all(state.count(user) <= CAP for user in state.users)
    assert len(state.running) == 1 or not any(one.head.solo for one in state.running)
    assert not any(state.users[head.user].paused for head in chosen)


def _paid_exactly(state: Day) -> None:
    """I7: a counter is what it was lifted by, what was used, and the estimates of what runs; to the last digit."""
    for user in state.users.values():
        flying = sum(one.charged[0] for one in state.running if one.head.user == user.id)
        account = state.accounts["user", user.id]
        assert user.service == account.lifted + account.settled + flying
    for guild in state.guilds.values():
        flying = sum(one.charged[1] for one in state.running if state.users[one.head.user].guild == guild.id)
        account = state.accounts["guild", guild.id]
        assert guild.service == account.lifted + account.settled + flying


@often
@given(st.lists(st.tuples(weights, st.lists(costs, min_size=12, max_size=12)), min_size=2, max_size=3))
def test_equal_service(people: Sequence[tuple[float, Sequence[float]]]) -> None:
    """I4: of two people who always wait, neither gets more than one longest job each ahead, by weight."""
    users = {n: User(id=n, guild=0, weight=weight) for n, (weight, _) in enumerate(people)}
    waiting = {
        n: [Head(job=f"{n}-{i}", user=n, cost=c) for i, c in enumerate(jobs)] for n, (_, jobs) in enumerate(people)
    }
    longest = max(cost for _, jobs in people for cost in jobs)
    served = dict.fromkeys(users, 0.0)
    for head in fairness.turns([Guild(id=0)], users.values(), waiting):
        served[head.user] += head.cost
        waiting_still = all(served[n] < sum(jobs) for n, (_, jobs) in enumerate(people))
        if not waiting_still:
            break
        for one in users.values():
            for other in users.values():
                gap = abs(served[one.id] / one.weight - served[other.id] / other.weight)
                assert gap <= longest / one.weight + longest / other.weight + 1e-3


@often
@given(days, weight_lists, st.integers(0, 4))
def test_no_newcomer_waits_long(day: Sequence[Step], weights_: Sequence[float], newcomer: int) -> None:
    """I5: a newcomer is passed by at most one job of each other busy person of their guild."""
    state = Day(weights_)
    for step in day:
        state.take(step)
    state.users[newcomer] = replace(state.users[newcomer], paused=False)
    if newcomer in state.busy_users():
        return
    state.waiting[newcomer] = []
    at_first = state.users[newcomer].service
    state.submit(fairness_submit(newcomer))
    if state.users[newcomer].service == at_first > 0:
        return  # they had more than the others already: no newcomer
    guild = state.users[newcomer].guild
    mates = [user for user in state.users.values() if user.guild == guild]
    alone = [replace(user, running=0) for user in mates]
    waiting = {user.id: state.waiting.get(user.id, []) for user in mates}
    order = [head.user for head in fairness.turns([state.guilds[guild]], alone, waiting)]
    passed = order[: order.index(newcomer)]
    assert len(passed) == len(set(passed)) <= len(mates) - 1


@often
@given(days, weight_lists, st.integers(0, 4))
def test_no_banked_credit(day: Sequence[Step], weights_: Sequence[float], newcomer: int) -> None:
    """I6: who comes back stands no lower than the least busy other, or than whoever was served last."""
    state = Day(weights_)
    for step in day:
        state.take(step)
    busy = state.busy_users()
    idle = [user for user in state.users.values() if user.id not in busy and not user.paused]
    if not idle:
        return
    before = idle[newcomer % len(idle)]
    newcomer = before.id
    mates = [user for user in state.users.values() if user.guild == before.guild and user.id != newcomer]
    state.lift(newcomer)
    after = state.users[newcomer].service
    assert after >= before.service
    if floor := [user.service for user in mates if user.id in busy]:
        assert after == max(before.service, min(floor))
    else:
        last = max([before, *mates], key=lambda user: user.last)
        assert after == max(before.service, last.service)


@often
@given(days, weight_lists, st.randoms(use_true_random=False))
def test_same_state_same_decision(day: Sequence[Step], weights_: Sequence[float], chance: random.Random) -> None:
    """I9: the decision follows from the state, however its parts are ordered."""
    state = Day(weights_)
    for step in day:
        state.take(step)
    guilds, users, waiting = list(state.guilds.values()), list(state.users.values()), list(state.waiting.items())
    wanted = list(fairness.turns(guilds, users, dict(waiting)))
    for part in (guilds, users, waiting):
        chance.shuffle(part)
    assert list(fairness.turns(guilds, users, dict(waiting))) == wanted


def fairness_submit(user: int) -> Submit:
    """A plain job of theirs."""
    return Submit(user, 1.0)


def test_guilds_share_first() -> None:
    """A guild of one gets as much as a guild of two."""
    users = [User(id=1, guild=1), User(id=2, guild=1), User(id=3, guild=2)]
    waiting = {n: [Head(job=f"{n}{i}", user=n) for i in range(4)] for n in (1, 2, 3)}
    order = [head.user for head in fairness.turns([Guild(id=1), Guild(id=2)], users, waiting)]
    assert order[:8] == [1, 3, 2, 3, 1, 3, 2, 3]


def test_weight_is_a_share() -> None:
    """Twice the weight is twice the service."""
    users = [User(id=1, guild=1, weight=2.0), User(id=2, guild=1)]
    waiting = {n: [Head(job=f"{n}{i}", user=n) for i in range(90)] for n in (1, 2)}
    order = [head.user for head in fairness.turns([Guild(id=1)], users, waiting)]
    assert order[:60].count(1) == 40


def test_one_head_each() -> None:
    """fair_order needs only one job of everybody and names each person once."""
    users = [User(id=1, guild=1, service=5 * MICRO), User(id=2, guild=1), User(id=3, guild=1, paused=True)]
    heads = [Head(job="a", user=1), Head(job="b", user=2), Head(job="c", user=3)]
    assert [head.job for head in fairness.fair_order([Guild(id=1)], users, heads, 8)] == ["b", "a"]


def test_cap_leaves_slots() -> None:
    """One person alone takes at most the cap, so that the next one finds a slot."""
    waiting = {1: [Head(job=str(i), user=1) for i in range(20)]}
    assert len(fairness.picks([Guild(id=1)], [User(id=1, guild=1)], waiting, 8, cap=6)) == 6


def test_suspect_waits_for_an_empty_engine() -> None:
    """A job that must run alone holds the others back when its turn has come, and then runs alone."""
    waiting = {1: [Head(job="poison", user=1, solo=True)], 2: [Head(job="good", user=2)]}
    guilds, users = [Guild(id=1)], [User(id=1, guild=1), User(id=2, guild=1)]
    assert fairness.picks(guilds, users, waiting, 8, busy=True) == []
    assert [head.job for head in fairness.picks(guilds, users, waiting, 8)] == ["poison"]
    users[0] = replace(users[0], service=1)
    assert [head.job for head in fairness.picks(guilds, users, waiting, 8, busy=True)] == ["good"]
