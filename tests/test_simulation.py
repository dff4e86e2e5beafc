"""The simulated wait stands on the real order: what it may not get wrong, in a small world."""

from __future__ import annotations

from tests.benchmarks.simulate import Arrival, Wait, arrivals, simulate

LATE = Arrival(at=1e9, user=99, count=1, cost=1.0)  # so that all before it is over by the end


def done(waits: list[Wait], user: int) -> list[float]:
    """When a person's dreams were done, after they were asked for."""
    return [wait.done_s for wait in waits if wait.user == user and wait.done_s is not None]


def test_a_device_is_shared_and_never_more_than_busy() -> None:
    """Dreams that run together take as long as their sum; alone, one takes its cost."""
    alone = simulate([Arrival(0.0, 1, 1, 8.0), LATE], 100, 1)
    assert [round(s, 6) for s in done(alone, 1)] == [8.0]
    together = simulate([Arrival(0.0, user, 1, 8.0) for user in range(4)] + [LATE], 100, 1)
    assert [round(s, 6) for user in range(4) for s in done(together, user)] == [32.0] * 4
    on_two = simulate([Arrival(0.0, user, 1, 8.0) for user in range(2)] + [LATE], 100, 2)
    assert [round(s, 6) for user in range(2) for s in done(on_two, user)] == [8.0] * 2


def test_a_flood_does_not_keep_a_newcomer_waiting() -> None:
    """Hundreds of one person take six seats of eight; whoever comes next begins at once."""
    waits = simulate([Arrival(0.0, 1, 300, 8.0), Arrival(1.0, 2, 1, 8.0), LATE], 100, 1)
    assert [wait.begun_s for wait in waits if wait.user == 2] == [0.0]
    assert len(done(waits, 1)) == 300


def test_every_dream_is_counted_once_and_the_seed_decides() -> None:
    """As many waits as were asked for; the same seed gives the same world."""
    asked = arrivals(people=200, hours=2, a_day=24, cost=8.0, seed=7)
    assert asked == arrivals(people=200, hours=2, a_day=24, cost=8.0, seed=7)
    assert len(simulate(asked, 200, 1)) == sum(one.count for one in asked)
