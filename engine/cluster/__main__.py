"""`python -m engine.cluster`: the processes that `dreambot cluster up` keeps.

`check` says whether a cluster may be started or joined, `node` becomes this host's part of Ray, `controller` keeps an
engine in every seat, `nodes` lists who is there. Ray is imported by the verbs that need it, never by the bot.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys

from engine.cluster.controller import Controller, Placement
from engine.cluster.errors import ClusterLost
from engine.cluster.token import OWN_WAY, QUIET, check_token
from storage import logs
from storage.database import Database
from storage.errors import UserError
from storage.queue import Queue
from storage.settings import StoreSettings

log = logging.getLogger("engine.cluster")

SEATS = "cluster-seats.json"  # in the home of the controller's host
PROBE_S = 10.0


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 broken, 2 a wrong request."""
    parser = argparse.ArgumentParser(prog="python -m engine.cluster", description=__doc__)
    parser.add_argument("verb", choices=("check", "node", "controller", "nodes"))
    parser.add_argument("--join", metavar="HOST:PORT", help="the head to join; without it this host is the head")
    parser.add_argument("--address", metavar="IP", help="this host's address, as the others reach it")
    parser.add_argument("--port", type=int, default=6379, help="of the head")
    parser.add_argument("--cores", type=int, help="of this host to share out; all by default")
    parser.add_argument("--engines", type=int, default=0, help="at least so many; 0: as many as fit")
    parser.add_argument("--cpus", type=int, default=0, help="cores of an engine; 0: it has a GPU")
    told = parser.parse_args(argv)
    try:
        store = StoreSettings.load()
        logs.set_up(store.log_level, as_json=store.log_format == "json")
        check_token(os.environ)
        if importlib.util.find_spec("ray") is None:
            raise UserError("A cluster needs Ray, which is not installed here: `pip install 'dreambot[ray]'`.")
        os.environ.update(OWN_WAY | os.environ | QUIET)
        if told.verb == "check":
            return _check(told.join)
        if told.verb == "node":
            return _node(told)
        if told.verb == "nodes":
            print(json.dumps(_nodes(told.join)))  # noqa: T201  (this is the program's voice)
            return 0
        return _control(told, store)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except ClusterLost as error:
        log.error("%s", error)
        return 1


def _check(head: str | None) -> int:
    """UserError where the head refuses our token; a head that is not there yet may come."""
    if head is not None:
        try:
            _nodes(head)
        except ClusterLost as error:
            log.warning("%s; trying on", error)
    return 0


def _node(told: argparse.Namespace) -> int:
    """Become `ray start --block`: it ends its own processes when it is told to, and only them."""
    words = ["start", "--block", "--disable-usage-stats"]
    if told.join is None:
        from engine.cluster.head import forget_last

        forget_last()
        words += ["--head", f"--port={told.port}", "--include-dashboard=false"]
    else:
        words += [f"--address={told.join}"]
    if told.address is not None:
        words += [f"--node-ip-address={told.address}"]
    if told.cores is not None:
        words += [f"--num-cpus={told.cores}"]
    os.execv(sys.executable, [sys.executable, "-m", "ray.scripts.scripts", *words])


def _nodes(head: str) -> list[dict[str, str]]:
    """Every node that the head knows, without becoming part of the cluster."""
    from engine.cluster.head import nodes

    return nodes(head, PROBE_S)


def _control(told: argparse.Namespace, store: StoreSettings) -> int:
    from engine.cluster.head import own_address
    from engine.cluster.placement import RayPlacement

    placement = RayPlacement(told.join or f"{told.address or own_address()}:{told.port}", told.cpus)
    try:
        asyncio.run(_keep(placement, told.engines, store))
    finally:
        placement.close()
    return 0


async def _keep(placement: Placement, engines: int, store: StoreSettings) -> None:
    """Until SIGTERM."""
    async with Database.open(store) as database:
        controller = Controller(placement, Queue(database, store), engines=engines, state=store.home / SEATS)
        working = asyncio.create_task(controller.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, working.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await working


if __name__ == "__main__":
    sys.exit(main())
