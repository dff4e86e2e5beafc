"""The terminal's commands at work: somebody sits there and waits.

Knows how an answer becomes lines, files and an exit status. Does not know Typer.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bot import cards, local_adapter
from bot.arguments import KEEP_IN_TERMINAL, Value
from bot.cards import Card
from bot.commands import UnknownPack
from bot.enlarge import enlarged
from bot.hand_in import hand_in_file
from bot.own_engine import EngineDown, OwnEngine
from bot.report import report
from bot.session import Session, emit
from bot.terminal import Bar, picture, say
from bot.wait import Wait, first_ready
from storage.errors import UserError
from storage.job import Job, Outcome, State

Ask = Callable[[], Awaitable[Card]]

STATUS = {
    Outcome.CANCELLED: 0,
    Outcome.STOPPING: 0,
    Outcome.FINISHED: 1,
    Outcome.NOT_YOURS: 2,
    Outcome.UNKNOWN: 2,
}


async def dream(
    session: Session,
    prompt: str,
    options: Mapping[str, Value],
    *,
    image: str | None,
    start: str | None,
    bank: bool,
    out: str | None,
    wait: bool,
) -> int:
    """Dream, and wait for it unless told not to."""
    if image is not None:
        options = {**options, "image": hand_in_file(Path(image), session.store.images)}
    if start is not None:
        options = {**options, "from": hand_in_file(Path(start), session.store.images, "--from")}
    params = await session.commands.params(session.caller, prompt, options, keep=KEEP_IN_TERMINAL, bank=bank)
    if wait:
        job = await _watch(session, lambda: session.commands.dream(session.caller, params), out)
        return 0 if job.state is State.COMPLETED else 1
    if out is not None:
        raise UserError("--out needs to wait for the picture; leave out --no-wait or --out.")
    card = await session.commands.dream(session.caller, params, reply_to=local_adapter.address(session.caller))
    if session.json:
        emit(report(await session.commands.job(str(card.job)), session.store.images.path))
    else:
        session.show(card)
    return 0


async def again(session: Session, job_id: str, *, out: str | None) -> int:
    """Reproduce; 0 only if the pixels are the same."""
    job = await _watch(session, lambda: session.commands.again(session.caller, job_id), out)
    return 0 if job.state is State.COMPLETED and job.identical else 1


async def anew(session: Session, job_id: str, prompt: str | None, seed: str | None, *, out: str | None) -> int:
    """Dream it with a new seed, or with other words."""
    job = await _watch(session, lambda: session.commands.anew(session.caller, job_id, prompt=prompt, seed=seed), out)
    return 0 if job.state is State.COMPLETED else 1


async def vary(session: Session, job_id: str, *, out: str | None) -> int:
    """Dream near a job's best picture."""
    job = await _watch(session, lambda: session.commands.vary(session.caller, job_id), out)
    return 0 if job.state is State.COMPLETED else 1


async def rerank(session: Session, job_id: str, prompt: str | None, by: str, *, out: str | None) -> int:
    """Re-order an earlier job's candidates."""
    job = await _watch(session, lambda: session.commands.rerank(session.caller, job_id, prompt=prompt, by=by), out)
    return 0 if job.state is State.COMPLETED else 1


async def _watch(session: Session, ask: Ask, out: str | None) -> Job:
    """Ask, follow the job to its end with a bar, and show what became of it."""
    target = None if out is None else _writable(Path(out))
    cursor = await session.store.feed.head()
    bar = Bar()
    async with OwnEngine(session.store, session.engine, told=bar.tell) as engine:
        job_id = await _asked(session, ask, engine, cursor, bar)
        try:
            with bar:
                job = await Wait(session, engine, job_id, cursor, bar.see).over()
        except EngineDown:
            if session.json:
                emit(report(await session.commands.job(job_id), session.store.images.path))
            raise
        if target is not None and job.images:
            _write(target, session.shown(job.images[0]))
        show_job(session, job, engine.start_seconds)
    return job


async def _asked(session: Session, ask: Ask, engine: OwnEngine, cursor: int, bar: Bar) -> str:
    """The name of the job that was accepted."""
    try:
        card = await ask()
    except UnknownPack:  # an engine that starts may bring packs that the store has not heard of
        if not await first_ready(session, engine, cursor):
            raise
        card = await ask()
    if await session.commands.held():
        say("The queue is paused: this waits until an admin resumes it.")
    bar.tell(card.text)
    return str(card.job)


def show_job(session: Session, job: Job, engine_start: float | None) -> None:
    """The card, the pictures' paths and the best picture; or the JSON."""
    if session.json:
        emit(report(job, session.store.images.path, engine_start=engine_start))
    else:
        _show_pictures(session, cards.job_card(job))


def _show_pictures(session: Session, card: Card) -> None:
    """The best picture, the card, and where its pictures lie."""
    paths = [session.store.images.path(digest) for digest in card.images]
    if paths and paths[0].is_file():
        picture(enlarged(paths[0].read_bytes(), session.store.settings.shown_side), sys.stdout)
    session.show(card)
    for path in paths:
        sys.stdout.write(f"{path}\n")
    sys.stdout.flush()


async def show(session: Session, job_id: str) -> int:
    """Show a job."""
    card = await session.commands.show(session.caller, job_id)
    if session.json:
        session.show(card)
    else:
        _show_pictures(session, card)
    return 0


async def queue(session: Session) -> int:
    """Show the queue."""
    session.show(await session.commands.queue(session.caller))
    return 0


async def cancel(session: Session, job_id: str) -> int:
    """Cancel a job; the status tells what was observed."""
    card = await session.commands.cancel(session.caller, job_id)
    status = STATUS[Outcome(card.rows[0]["outcome"])]
    if status == 2 and not session.json:
        say(card.text)
    else:
        session.show(card)
    return status


async def gallery(session: Session, of: str, period: str) -> int:
    """Show the best pictures: the best one itself, and where the others lie."""
    card = await session.commands.gallery(session.caller, of=of, period=period)
    if session.json:
        for row, digest in zip(card.rows, card.images, strict=True):
            emit({**row, "path": str(session.store.images.path(digest))})
    else:
        _show_pictures(session, card)
    return 0


def _writable(target: Path) -> Path:
    """The file that --out names, before a job is spent on it."""
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"--out names a file in a folder that exists; {str(target)!r} does not.")
    if not os.access(target.parent, os.W_OK):
        raise UserError(f"--out names a file in a folder that can be written; {str(target.parent)!r} cannot.")
    return target


def _write(target: Path, png: bytes) -> None:
    """Whole or not at all."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(png)
        draft.replace(target)
    except OSError as error:
        raise UserError(f"--out {str(target)!r} could not be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)
