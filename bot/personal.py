"""What is about oneself: own defaults, a copy of all that is known, and being forgotten. Knows no chat library."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from bot import arguments, boards, cards
from bot.arguments import Value
from bot.cards import Button, Card, Tone
from bot.export import ROOM, Exported, export_room, write_export
from bot.store import Store
from storage.errors import UserError
from storage.job import Caller, Job

OWN = ("method", "pack", "keep", "candidates", "steps")  # the options that may have a default of one's own
NONE = "none"  # takes a default back
EVERYTHING = 1_000_000
TWO = "one | other"  # a prompt that every method takes
SURE = "sure"


class Personal:
    """The commands about the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def options(self, caller: Caller, given: Mapping[str, Value]) -> Mapping[str, Value]:
        """The options of a dream: those given, and the caller's own defaults for those that are not."""
        asked = {name: value for name, value in given.items() if value is not None}
        own: dict[str, Value] = dict(await self._store.preferences.of(caller))
        if asked.get("parity") is not None:
            return asked  # a published program brings its own
        if "from" in asked:
            own.pop("method", None)  # one method alone begins from a picture
        if "keep" in own and "keep" not in asked:
            own["keep"] = _at_most(own["keep"], asked.get("candidates", own.get("candidates")))
        return own | asked

    async def settings(self, caller: Caller, options: Mapping[str, Value]) -> Card:
        """Show the caller's own defaults, after changing those that are given; `none` takes one back."""
        own: dict[str, Value] = dict(await self._store.preferences.of(caller))
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in given.items():
            if name not in OWN:
                raise UserError(f"Defaults of your own are for {', '.join(OWN)}; {name!r} is not one.")
            if str(value).strip().lower() == NONE:
                own.pop(name, None)
            else:
                own[name] = await self._checked(name, value)
        if given:
            arguments.dream(TWO, own)  # do they go together
            kept = {name: value for name, value in own.items() if value is not None}
            await self._store.preferences.put(caller, kept)
        return boards.settings_card({name: own.get(name) for name in OWN})

    async def export(self, caller: Caller, *, room: int = ROOM) -> Card:
        """A zip file with the caller's jobs, recipes and scores, and as many pictures as there is room for."""
        jobs = await self.jobs(caller)
        folder = self._store.settings.home / "exports"
        made = await asyncio.to_thread(export_room, folder, jobs, self._store.images.path, room)
        return replace(_exported(made), file=str(made.path))

    async def export_to(self, caller: Caller, path: str) -> Card:
        """The same, whole, into a file on this machine."""
        jobs = await self.jobs(caller)
        return _exported(await asyncio.to_thread(write_export, path, jobs, self._store.images.path))

    async def forget(self, caller: Caller, *, sure: bool) -> Card:
        """Forget the caller, if they are sure; else ask whether they are."""
        if not sure:
            return _ask(len(await self.jobs(caller)))
        gone = await self._store.forgetting.forget(caller)
        await asyncio.to_thread(self._store.images.remove, gone.digests)
        text = (
            f"{gone.jobs} dreams are forgotten, {gone.stopped} of them before they were done: prompts, pictures, "
            "scores, votes, defaults and your name. Messages with them are written over as the platform allows."
        )
        return cards.notice("Forgotten", text, jobs=gone.jobs, stopped=gone.stopped, private=True)

    async def jobs(self, caller: Caller) -> list[Job]:
        """All of the caller's jobs, latest first."""
        return await self._store.queue.history(caller, EVERYTHING)

    async def _checked(self, name: str, value: Value) -> str | int:
        """The value as it is kept; UserError where it cannot be one."""
        params = arguments.dream(TWO, {name: value, **({"candidates": 10_000} if name == "keep" else {})})
        if name == "pack":
            known = [pack.name for pack in await self._store.engines.packs() if pack.offered]
            if params.pack not in known:
                raise UserError(f"pack is one of {', '.join(known)}; {params.pack!r} is not.")
        found = getattr(params, name)
        return found if isinstance(found, int) else str(found)


def _at_most(keep: Value, candidates: Value) -> Value:
    """An own keep, where fewer candidates are asked for than it would keep."""
    try:
        return min(int(keep or 1), int(candidates or 100))
    except ValueError:
        return keep  # and `arguments.dream` says what is wrong with the other


def _exported(made: Exported) -> Card:
    missing = f" {made.left_out} older pictures did not fit; the operator can write them all." if made.left_out else ""
    text = f"{made.jobs} jobs and {made.pictures} pictures.{missing}"
    row = {"path": str(made.path), "jobs": made.jobs, "pictures": made.pictures, "left_out": made.left_out}
    return cards.notice("Export", text, private=True, **row)


def _ask(jobs: int) -> Card:
    return Card(
        tone=Tone.WRONG,
        title="Forget me?",
        text=(
            f"This deletes your {jobs} dreams, their pictures, your votes, your defaults and your name, and stops what "
            "waits or runs. It cannot be undone; `export` first if you want a copy. To go on, press the button or send "
            "`forget-me --sure yes`."
        ),
        buttons=(Button("Forget me", "forget", "me"),),
        rows=({"jobs": jobs, SURE: False},),
        private=True,
    )
