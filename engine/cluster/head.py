"""Who is in the cluster, asked of its head without becoming part of it. One of the two modules that import Ray."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private.utils import get_ray_address_file
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError, RayError

from engine.cluster.errors import ClusterLost
from engine.cluster.token import check_token
from storage.errors import UserError

ALIVE = 0  # in Ray's GcsNodeInfo


def nodes(head: str, patience_s: float) -> list[dict[str, str]]:
    """Each node's address and state. UserError without a token that the head takes, ClusterLost where none answers."""
    check_token(os.environ)
    try:
        with _hushed():
            found = GcsClient(address=head).get_all_node_info(timeout=patience_s)
    except AuthenticationError:
        raise UserError(f"The head at {head} refuses this host's token: it must be the same on every host.") from None
    except (RayError, OSError, RuntimeError) as error:
        raise ClusterLost(f"No head answers at {head}") from error
    return [
        {"address": node.node_manager_address, "state": "alive" if node.state == ALIVE else "dead"}
        for node in found.values()
    ]


def own_address() -> str:
    """This host's, as Ray finds it where nobody names one; never 127.0.0.1, by which no other host could answer."""
    return str(ray.util.get_node_ip_address())


def forget_last() -> None:
    """Forget a head of this host's that died: Ray keeps its address in a file and would take it for one that runs."""
    Path(get_ray_address_file(None)).unlink(missing_ok=True)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what Ray's native part writes to standard error by itself: one sentence is enough, and it is ours."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
