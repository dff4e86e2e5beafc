"""Seats by Ray: an actor for each engine, on a node with a free GPU or enough free cores.

One of the two modules that import Ray. Actors are not restarted by Ray (`max_restarts=0`): the controller must
give leases back between two lives, so it asks for the next actor itself. Nothing is streamed: what an actor says dies
with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

import ray
from ray.exceptions import ActorUnavailableError, RayError

from engine.cluster.actor import GRACE_S, EngineActor
from engine.cluster.errors import ClusterLost, EngineLost
from engine.cluster.seat import Sitter
from engine.cluster.token import check_token

FIRST_S, LAST_S = 2.0, 30.0  # Ray says "unavailable" every two seconds while nobody can be reached


class RayPlacement:
    """The cluster at `head`, `host:port`; engines have a GPU each, or `cpus` cores. UserError without a token."""

    def __init__(self, head: str, cpus: int = 0) -> None:
        check_token(os.environ)
        self._cpus = cpus
        try:
            ray.init(
                address=head,
                namespace="dreambot",
                _node_ip_address=head.rpartition(":")[0],
                log_to_driver=False,
                configure_logging=False,
            )
        except (RayError, ConnectionError, RuntimeError) as error:
            raise ClusterLost(f"The cluster at {head} does not take us: {_line(error)}") from None

    async def capacity(self) -> int:
        """How many engines fit on the nodes that are there."""
        try:
            return await asyncio.to_thread(self._count)
        except (RayError, ConnectionError, RuntimeError) as error:
            raise ClusterLost(_line(error)) from None

    def _count(self) -> int:
        there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        kind, share = ("CPU", self._cpus) if self._cpus else ("GPU", 1)
        return sum(int(resources.get(kind, 0)) // share for resources in there)

    def open(self, number: int) -> RayHold:
        """An actor, placed when there is room."""
        share = {"num_cpus": self._cpus} if self._cpus else {"num_gpus": 1, "num_cpus": 0}
        made = ray.remote(PlacedEngine).options(max_restarts=0, max_task_retries=0, max_concurrency=8, **share)
        return RayHold(made.remote(number, self._cpus))

    def close(self) -> None:
        """Leave the cluster."""
        ray.shutdown()


class PlacedEngine(EngineActor):
    """An engine that knows on which of Ray's nodes it is."""

    def __init__(self, number: int, cpus: int) -> None:
        super().__init__(number, ray.get_runtime_context().get_node_id(), cpus)


class RayHold:
    """One actor."""

    def __init__(self, actor: ray.actor.ActorHandle) -> None:
        self._actor, self._started = actor, False

    async def start(self) -> Sitter:
        """Waits for a place, for ever if need be."""
        with _told():
            sitter: Sitter = await self._actor.start.remote()
        self._started = True
        addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in await asyncio.to_thread(ray.nodes)}
        return replace(sitter, node=addresses.get(sitter.node, sitter.node))

    async def wait(self) -> int:
        """An actor that cannot be reached may work on: only Ray's word that it is dead ends the wait."""
        wait_s = FIRST_S
        while True:
            with _told():
                try:
                    status: int = await self._actor.wait.remote()
                    return status
                except ActorUnavailableError:
                    await asyncio.sleep(wait_s)
                    wait_s = min(LAST_S, wait_s * 2)

    async def stop(self) -> None:
        """The engine drains, if it runs; the actor ends in any case."""
        try:
            if self._started:
                with _told():
                    await asyncio.wait_for(self._actor.stop.remote(), GRACE_S + FIRST_S)
        except TimeoutError:
            pass
        finally:
            ray.kill(self._actor)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RayError as error:
        raise EngineLost(_line(error)) from None


def _line(error: Exception) -> str:
    """The first line of Ray's page-long messages."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
