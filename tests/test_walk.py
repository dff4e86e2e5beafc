"""The walk in the README is true: each named function exists and is called, in that order."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

from bot.admin import Admin
from bot.commands import Commands
from bot.delivery import Delivery
from bot.local_adapter import LocalAdapter, address
from bot.phrases import Phrases
from bot.settings import BotSettings
from bot.store import open_store
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.service import Service
from engine.settings import EngineSettings
from storage.engines import PackRow
from storage.events import FINAL_KINDS
from storage.images import ImageStore
from storage.job import Caller
from tests.engine.tiny import make_tiny_pack
from tests.readme_map import ROOT

STEP = re.compile(r"`(bot|engine|storage)/([a-z_/]+)\.py:([A-Za-z_.]+)`")


def walk() -> dict[CodeType, str]:
    """The functions that the README's walk names, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## The walk")[1].split("\n## ")[0]
    named: dict[CodeType, str] = {}
    for room, module, name in STEP.findall(text):
        found = importlib.import_module(f"{room}.{module.replace('/', '.')}")
        for part in name.split("."):
            found = getattr(found, part)
        named.setdefault(inspect.unwrap(found).__code__, name)  # type: ignore[arg-type]
    return named


async def test_the_walk_is_walked(tmp_path: Path) -> None:
    """A dream by chat, with bot and engine in one process, calls what the README says when it says so."""
    expected = walk()
    assert len(expected) >= 12
    called: list[str] = []

    def look(frame: FrameType, event: str, _: object) -> None:
        name = expected.get(frame.f_code)
        if event == "call" and name is not None and name not in called:
            called.append(name)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        await dream_by_chat(tmp_path)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert called == list(expected.values())


async def dream_by_chat(home: Path) -> None:
    """One `/dream`, to its letter in the mailbox."""
    engine = EngineSettings(device="cpu", threads=1)
    device = choose_device(engine)
    runner = ModelRunner(find_packs(make_tiny_pack(home / "packs").parent), device)
    runner.space("tiny")
    settings = BotSettings(home=home)
    caller = Caller(user="ada", name="ada", admin=True)
    async with open_store(settings) as store:
        await store.engines.publish_pack(
            PackRow(name="tiny", digest="0", labels=5, methods=["search"], resolution=64, offered=True)
        )
        adapter = LocalAdapter(home)
        service = Service(
            queue=store.queue,
            feed=store.feed,
            images=ImageStore(settings.images),
            space=runner.space,
            run=runner.run,
            trace=device.trace,
            owner="test:0:1:0",
            room=8,
            settings=engine,
        )
        phrases = Phrases(Commands(store), Admin(store))
        await phrases.answer(caller, "/dream a lemon --pack tiny --candidates 8", reply_to=address(caller))
        serving = asyncio.create_task(service.serve())
        async for events in store.feed.follow(0):
            if any(event.kind in FINAL_KINDS for event in events):
                break
        delivering = asyncio.create_task(Delivery(store, {"local": adapter}).run())
        async with asyncio.timeout(20):
            while await store.outbox.unsent(["local"]):
                await store.feed.changed(1.0)
        service.stopping.set()
        await serving
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
    assert list((home / "mail").rglob("*.json"))
