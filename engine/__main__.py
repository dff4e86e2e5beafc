"""`python -m engine`: the engine process, and the verbs that need its tensors or weights.

The composition root: the only place in engine/ that knows concrete classes, the environment and signals.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from engine.errors import DeviceBusy, PullFailed
from engine.evaluate import add_arguments as evaluation_words
from engine.giving_way import give_way
from engine.metrics import Metrics
from engine.packs import Pack, find_packs
from engine.settings import DEFAULT_SIZE, EngineSettings
from storage import logs
from storage.database import Database
from storage.disk import drop_ballast
from storage.engines import EngineRow, Engines, PackRow
from storage.errors import DreambotError, StoreBusy, StoreFull, UserError
from storage.feed import Feed
from storage.heart import Heart
from storage.images import ImageStore
from storage.queue import Queue
from storage.rescue import Watch, boot, host, new_owner
from storage.settings import StoreSettings
from storage.vitals import Pulse, Vitals

if TYPE_CHECKING:
    from engine.runner import Device
    from engine.service import Service

log = logging.getLogger("engine")

BUSY = 3  # exit status: another engine works on this device for this store
RESCUE_S = 1.0
CACHE = "cache"  # the folder in the home for what can be made again
PACKS = "packs"  # the folder in the home for packs that were added, and for weights that were pulled


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 broken, 2 a wrong request, 3 the device is taken."""
    # Threads that spin while they wait are 25 times slower as soon as another process wants a core (measured).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    catalog = verbs.add_parser("packs", help="what there is to draw with")
    catalog.add_argument("what", choices=("list", "info", "pull", "verify", "add"))
    catalog.add_argument("name", nargs="?")
    doctor = verbs.add_parser("doctor", help="the device and what it can do")
    evaluation = verbs.add_parser("evaluate", help="methods compared: prompts x seeds x ways")
    evaluation_words(evaluation)
    bank = verbs.add_parser("bank", help="the latent banks")
    bank.add_argument("what", choices=("build", "info"))
    bank.add_argument("--pack", default="embedded")
    bank.add_argument("--size", type=int, default=DEFAULT_SIZE)
    for sub in (catalog, doctor, evaluation, bank):
        sub.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        store = StoreSettings.load()
        logs.set_up(logging.WARNING, as_json=store.log_format == "json")
        for ours in ("engine", "storage"):  # open_clip tells its life on the root logger
            logging.getLogger(ours).setLevel(store.log_level)
        return _run(arguments)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201  (this is the program's voice)
        return 2
    except PullFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except DeviceBusy as error:
        log.info("%s", error)
        return BUSY
    except DreambotError:
        log.exception("the engine cannot go on")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    settings = EngineSettings()
    if arguments.verb is None:
        give_way()
        asyncio.run(serve(settings, StoreSettings.load()))
        return 0
    from engine import catalog  # the verbs are not needed to serve

    home = StoreSettings.load().home
    folders = catalog.Folders(kept=home / PACKS, cache=home / CACHE)
    if arguments.verb == "evaluate":
        from engine.evaluate.command import evaluate

        return evaluate(settings, folders, arguments)
    if arguments.verb == "bank":
        from engine import bank_verbs

        return bank_verbs.bank(settings, folders, arguments)
    if arguments.verb == "packs":
        return catalog.packs(settings, folders, arguments.what, arguments.name, as_json=arguments.json)
    return catalog.doctor(settings, folders, as_json=arguments.json)


async def serve(settings: EngineSettings, store: StoreSettings) -> None:
    """Open everything, say that we are ready, work until SIGTERM."""
    async with Database.open(store) as database:
        queue, feed = Queue(database, store), Feed(database, store.poll_s)
        await _while_drained(queue, feed)
        from engine.growing import Growth
        from engine.runner import ModelRunner, choose_device  # torch: seconds to import, so not before it is needed
        from engine.service import Service

        device, owner = choose_device(settings), new_owner()
        found = find_packs(settings.packs, store.home / PACKS)
        packs = served({name: pack for name, pack in found.items() if pack.here}, settings.serves)
        metrics = Metrics(memory=partial(_memory, device))
        with DeviceLock(store.home, f"{device.name} {settings.slot}".strip()):
            runner = ModelRunner(packs, device, store.home / CACHE)
            engines = Engines(database)
            service = Service(
                queue=queue,
                feed=feed,
                images=_images(store),
                space=runner.space,
                run=runner.run,
                trace=device.trace,
                owner=owner,
                room=store.room,
                settings=settings,
                packs=tuple(packs),
                grow=Growth(lambda: runner.drawing, runner.space, runner.run, settings.bank).step,
                metrics=metrics,
            )
            for pack in packs.values():
                seconds = await asyncio.to_thread(runner.warm_up, pack.name) if pack.offered and pack.shipped else 0.0
                await engines.publish_pack(_pack_row(pack, seconds))
            await engines.register(_row(owner, device, packs))
            with Heart(store, owner, allow=service.lively), _vitals(settings, store, service):
                await engines.ready(owner, device.name)
                ourselves = Watch(store.silent_s, well=lambda whose: whose == owner and service.lively())
                await _until_told(service, ourselves)
            await engines.leave(owner)


def _images(store: StoreSettings) -> ImageStore:
    full = partial(drop_ballast, store.home)
    if store.images_elsewhere is None:
        return ImageStore(store.images, full=full)
    from storage.remote_images import RemoteImages  # nobody cleans up after an engine, so it keeps none of them

    return RemoteImages(store.images_elsewhere, store.images, keep=False, full=full)


def served(packs: Mapping[str, Pack], names: str) -> dict[str, Pack]:
    """The packs that this engine takes jobs of; `names` has commas. UserError names those there are."""
    asked = [name.strip() for name in names.split(",") if name.strip()] or list(packs)
    if unknown := [name for name in asked if name not in packs]:
        raise UserError(f"DREAMBOT_SERVES names packs among {', '.join(sorted(packs))}; {unknown[0]!r} is not here.")
    return {name: packs[name] for name in asked}


def _vitals(settings: EngineSettings, store: StoreSettings, service: Service) -> Vitals:
    """The pages that tell of this engine; there are none before it takes jobs."""

    def health() -> str:
        return "" if service.lively() else "no step has ended for too long"

    def ready() -> str:
        return "the engine drains" if service.stopping.is_set() else health()

    return Vitals(store.metrics_host, settings.engine_port, metrics=service.metrics.text, health=health, ready=ready)


def _memory(device: Device) -> Mapping[str, float]:
    import torch

    if device.place.type != "cuda":
        return {}  # the process's own is among its metrics
    free, total = torch.cuda.mem_get_info(device.place)
    reserved, allocated = torch.cuda.memory_reserved(device.place), torch.cuda.memory_allocated(device.place)
    return {"allocated": allocated, "reserved": reserved, "free": free, "total": total}


async def _while_drained(queue: Queue, feed: Feed) -> None:
    """An admin has drained the queue: wait for `resume` before anything large is loaded."""
    while (await queue.flags())["draining"]:
        log.info("the queue is drained; waiting for `dreambot admin resume`")
        await feed.changed(3600.0)


async def _until_told(service: Service, watch: Watch) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        service.stopping.set()
        service.feed.nudge()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    pulse = Pulse()
    service.metrics.lag.set_function(lambda: pulse.lag)
    beside = [asyncio.create_task(work) for work in (_rescue(service, watch), pulse.run())]
    try:
        await service.serve()
    finally:
        for task in beside:
            task.cancel()


async def _rescue(service: Service, watch: Watch) -> None:
    """What dead engines left behind goes back to the queue, at start and each second."""
    while True:
        try:
            for job in await service.queue.rescue(watch):
                service.metrics.rescued.inc()
                log.warning("rescued job %s (strikes %d)", job.id, job.strikes)
        except (StoreBusy, StoreFull) as error:
            log.warning("nothing was rescued: %s", error)
        await asyncio.sleep(RESCUE_S)


def _row(owner: str, device: Device, packs: Mapping[str, Pack]) -> EngineRow:
    return EngineRow(
        owner=owner,
        pid=os.getpid(),
        host=host(),
        boot=boot(),
        device=device.name,
        dtype=device.trace["dtype"],
        started_at=time.time(),
        packs=tuple(packs),
    )


def _pack_row(pack: Pack, seconds_per_candidate: float) -> PackRow:
    return PackRow(
        name=pack.name,
        digest=pack.digest,
        labels=len(pack.labels),
        label_names=[label.name for label in pack.labels],
        methods=[method.value for method in pack.methods],
        resolution=pack.resolution,
        offered=pack.offered,
        seconds_per_candidate=seconds_per_candidate,
    )


class DeviceLock:
    """One engine a device and store: an flock that the kernel drops when this process ends, however it ends."""

    def __init__(self, home: Path, device: str) -> None:
        self._path = home / f"engine-{re.sub(r'[^a-z0-9]+', '-', device.lower())}.lock"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeviceBusy(f"another engine works on this device for this store ({self._path}).") from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


if __name__ == "__main__":
    sys.exit(main())
