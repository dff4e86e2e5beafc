"""The pages on loopback."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from storage.errors import UserError
from storage.vitals import HANGS_S, Pulse, Vitals


class Told:
    """What a process says at the moment."""

    def __init__(self) -> None:
        self.health = self.ready = ""


@pytest.fixture
def told() -> Told:
    """All is well."""
    return Told()


@pytest.fixture
def vitals(told: Told) -> Iterator[Vitals]:
    """Open at any free port."""
    pages = Vitals("127.0.0.1", 0, metrics=lambda: "up 1\n", health=lambda: told.health, ready=lambda: told.ready)
    pages.open()
    with pages:
        yield pages


async def page(vitals: Vitals, path: str) -> tuple[int, str]:
    """A page's status and text."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{vitals.port}{path}", timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_three_pages(vitals: Vitals, told: Told) -> None:
    """Well and ready is 200; else 503 with the reason; other paths do not exist."""
    assert await page(vitals, "/metrics") == (200, "up 1\n")
    assert await page(vitals, "/health") == (200, "ok")
    told.health, told.ready = "hangs", "starting"
    assert await page(vitals, "/health") == (503, "hangs")
    assert await page(vitals, "/ready?now") == (503, "starting")
    assert (await page(vitals, "/"))[0] == 404


async def test_a_taken_port_is_a_sentence(vitals: Vitals) -> None:
    """It names the address."""
    second = Vitals("127.0.0.1", vitals.port, metrics=str, health=str, ready=str)
    with pytest.raises(UserError, match=f"127.0.0.1:{vitals.port}"):
        second.open()


def test_port_0_is_closed() -> None:
    """By default nothing listens."""
    with Vitals("127.0.0.1", 0, metrics=str, health=str, ready=str) as closed:
        assert closed.port == 0


async def test_a_loop_that_hangs_is_told() -> None:
    """The pulse measures how late the loop comes round, and says when it has stopped."""
    now = [0.0]
    pulse = Pulse(clock=lambda: now[0])
    turning = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    assert pulse.hangs() == ""
    now[0] = HANGS_S + 1
    assert "has not turned for 16 s" in pulse.hangs()
    turning.cancel()
