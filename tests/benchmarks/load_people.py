"""The people of `load`: who asks for what, when, on which platform, and what they heard.

Knows the peers' controls and the ledger of Discord's; measures nothing but an answer's delay, which the peers tell.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any

from storage.job import Caller
from tests.fakes.discord.peer import ADA, buttons
from tests.fakes.slack.driver import buttons as slack_buttons
from tests.fakes.slack.workspace import ADA as SLACK_ADA
from tests.scenarios.full_house import FullHouse

CHANNELS = 20  # on each platform
FOUR, CANCELLED, ADMIN = 0.2, 0.1, 0.05  # of all dreams: of four pictures, cancelled at once; and an admin looks
HOT = "hot"
HOT_ID = {"discord": "399999999999999999", "slack": "U0HOT"}
LATE_S = 10.0  # an answer that has not come by then does not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An answer: after how long, and of which job; without a job it is a refusal, or its message is still to come."""

    after_s: float
    job: str | None
    moment: bool = False


@dataclass
class People:
    """Everybody, and what they asked for."""

    full: FullHouse
    dice: random.Random
    acks: list[tuple[float, float]] = field(default_factory=list)  # when asked, seconds to the answer
    accepted: dict[str, bool] = field(default_factory=dict)  # prompt -> whether it is somebody hot's
    asked: int = 0
    refused: int = 0
    unheard: int = 0
    _acks: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _busy: set[asyncio.Task[None]] = field(default_factory=set)

    async def move_in(self, count: int) -> None:
        """Channels at both, and people at Slack, which names them; Discord's come with each act."""
        for number in range(CHANNELS):
            await self.full.discord.control("channel", id=channel("discord", number), bot_in=True)
            await self.full.slack.control("channel", channel=channel("slack", number), member=True)
        for number in range(1, count, 2):
            await self.full.slack.control("person", user=person(number)[1], name=f"p{number}")

    async def come(self, people: int, rate: float, hot: bool, until: float) -> None:
        """Ask at random moments until then (the loop's time), so often in a second, whatever the answers do."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while (at := at + self.dice.expovariate(rate)) < until:
            await asyncio.sleep(at - loop.time())
            number = None if hot else self.dice.randrange(people)
            self._start(self._dream(number))
            if not hot and self.dice.random() < ADMIN:
                self._start(self._look())

    async def all_heard(self) -> None:
        """Until every answer has come or does not come any more."""
        await asyncio.gather(*self._busy)

    async def listen(self) -> None:
        """For ever: hand Discord's acknowledgements to who waits for them."""
        while True:
            for entry in await self.full.discord.look(5.0):
                if entry["what"] == "ack" and (waiting := self._acks.pop(entry["interaction"], None)):
                    waiting.set_result(entry)

    def _start(self, act: Any) -> None:
        task = asyncio.create_task(act)
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _dream(self, number: int | None) -> None:
        """One dream of a person (None: of somebody hot), and sometimes its cancel."""
        self.asked += 1
        place, user = ("discord", HOT_ID["discord"]) if number is None else person(number)
        where = channel(place, 0 if number is None else number)
        prompt = f"{HOT if number is None else user} {self.asked}"
        keep = 4 if self.dice.random() < FOUR else 1
        cancels = self.dice.random() < CANCELLED
        began = asyncio.get_running_loop().time()
        heard = await self._heard(place, user, where, "dream", prompt=prompt, keep=keep)
        if heard is None:
            self.unheard += 1
            return
        self.acks.append((began, heard.after_s))
        if heard.job is None and not heard.moment:
            self.refused += 1
            return
        self.accepted[prompt] = number is None
        if cancels and (job := heard.job or await self._latest(place, user)) is not None:
            await self._heard(place, user, where, "cancel", job=job)

    async def _latest(self, place: str, user: str) -> str | None:
        """A person's newest job: Slack's acknowledgement has no words, and the message follows."""
        jobs = await self.full.house.queue.history(Caller(user=user, name=user, surface=place), 1)
        return jobs[0].id if jobs else None

    async def _look(self) -> None:
        """An admin looks at the queue."""
        place = self.dice.choice(("discord", "slack"))
        user = ADA if place == "discord" else SLACK_ADA
        await self._heard(place, user, channel(place, 0), "queue")

    async def _heard(self, place: str, user: str, where: str, verb: str, **options: Any) -> Heard | None:
        """What was answered; None if nothing."""
        ask = self._on_discord if place == "discord" else self._on_slack
        try:
            async with asyncio.timeout(LATE_S):
                return await ask(user, where, verb, options)
        except TimeoutError:
            return None

    async def _on_discord(self, user: str, where: str, verb: str, options: dict[str, Any]) -> Heard | None:
        name, under = {"dream": ("dream", None), "cancel": ("dreams", "cancel"), "queue": ("dream-admin", "queue")}[
            verb
        ]
        who = {"user": user, "channel": where}
        interaction = await self.full.discord.command(name, under, who=who, **options)
        self._acks[interaction] = asyncio.get_running_loop().create_future()
        ack = await self._acks[interaction]
        found = job_in(buttons(ack["data"]) if ack["data"].get("components") else [])
        return Heard(after_s=ack["after_s"], job=found, moment=ack["type"] == 5)

    async def _on_slack(self, user: str, where: str, verb: str, options: dict[str, Any]) -> Heard | None:
        text = {"dream": "{prompt} --keep {keep}", "cancel": "cancel {job}", "queue": "queue"}[verb].format(**options)
        command = "/dream-admin" if verb == "queue" else "/dream"
        began = time.perf_counter()
        ack = await self.full.slack.slash(text, user=user, channel=where, command=command)
        if not ack["acked"]:
            return None
        body = ack["body"] if isinstance(ack["body"], dict) else {}
        after_s = float(ack.get("after_s") or time.perf_counter() - began)
        return Heard(after_s=after_s, job=job_in(slack_buttons(body)), moment=not ack["body"])


def person(number: int) -> tuple[str, str]:
    """Where somebody is, half of them on either platform, and their id there."""
    return ("slack", f"U0P{number:05d}") if number % 2 else ("discord", str(310_000_000_000_000_000 + number))


def channel(place: str, number: int) -> str:
    """One of the channels of a platform."""
    number %= CHANNELS
    return str(210_000_000_000_000_000 + number) if place == "discord" else f"C0ROOM{number:02d}"


def job_in(names: list[str]) -> str | None:
    """The job that these buttons are about."""
    found = (name.split(":")[2] for name in names if name.startswith("v1:") and name.count(":") >= 2)
    return next(itertools.chain(found, (None,)))
