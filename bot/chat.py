"""`dreambot chat`: a terminal that answers lines as a chat platform would, results included.

Knows how cards are printed between the lines that somebody types; the commands are everybody's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence

from rich.console import Console

from bot import cards
from bot.cards import Card
from bot.keyboard import Keyboard
from bot.own_engine import OwnEngine
from bot.phrases import Phrases
from bot.session import Session
from bot.terminal import draw, picture, say
from storage.events import FINAL_KINDS
from storage.job import FINAL, Image

LEAVE = ("exit", "quit", "/exit", "/quit")


async def chat(session: Session) -> int:
    """Until the end of the input, /quit or Ctrl-C; at the end of a piped input the answers are waited for."""
    with Keyboard() as keyboard:
        async with OwnEngine(session.store, session.engine) as engine:
            room = Room(session, engine, keyboard)
            cursor = await session.store.feed.head()
            try:
                await _first(room.talk(), engine.keep(), room.follow(cursor))
            finally:
                room.leave()
    return 0


async def _first(*works: Coroutine[None, None, None]) -> None:
    """Run them together until one ends, or breaks."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Room:
    """One person at the prompt, and the jobs they wait for."""

    def __init__(self, session: Session, engine: OwnEngine, keyboard: Keyboard) -> None:
        self._session = session
        self._engine = engine
        self._keyboard = keyboard
        self._phrases = Phrases(session.commands, session.admin)
        self._console = Console()
        self._waiting: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def talk(self) -> None:
        """Read and answer lines."""
        if self._keyboard.interactive:
            self._console.print("Type /dream and a prompt, /help for the rest, /quit to leave.", style="dim")
        async for line in self._keyboard.lines():
            if line.strip() in LEAVE:
                return
            if line.strip():
                await self._answer(line)
        if not self._keyboard.interactive:
            await self._idle.wait()

    async def _answer(self, line: str) -> None:
        card = await self._phrases.answer(self._session.caller, line)
        if card.job is not None and line.split()[0].lstrip("/").lower() in ("dream", "again", "anew", "vary", "rerank"):
            self._waiting.add(card.job)
            self._idle.clear()
        self._print(card)
        if card.job is not None:
            await self._result(card.job)  # in case it was over before we noted that we wait

    async def follow(self, cursor: int) -> None:
        """Print what becomes of this person's jobs."""
        async for events in self._session.store.feed.follow(cursor):
            for event in events:
                self._engine.see(event)
                if event.kind in FINAL_KINDS and event.job is not None:
                    await self._result(event.job)

    async def _result(self, job_id: str) -> None:
        """Print a job that we wait for, once, if it is over."""
        job = await self._session.commands.job(job_id)
        if job_id not in self._waiting or job.state not in FINAL:
            return
        self._waiting.discard(job_id)
        self._print(cards.job_card(job), job.images)
        if not self._waiting:
            self._idle.set()

    def _print(self, card: Card, pictures: Sequence[Image] = ()) -> None:
        self._keyboard.clear()
        if pictures:
            picture(self._session.shown(pictures[0]), sys.stdout)
        self._console.print(draw(card))
        for image in pictures:
            path = str(self._session.store.images.path(image.sha256))
            self._console.print(path, style="dim", soft_wrap=True, markup=False, highlight=False)
        self._keyboard.again()

    def leave(self) -> None:
        """Say what goes on without this terminal."""
        self._keyboard.clear()
        for job_id in sorted(self._waiting):
            say(f"Job {job_id} stays in the queue; `dreambot show {job_id}` tells how it went.")
