"""Who is in the cluster, asked of its head without becoming part of it. One of the two modules that import Ray."""

from __future__ import annotations

from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError, RayError

from engine.cluster.errors import ClusterLost
from storage.errors import UserError


def nodes(head: str, patience_s: float) -> list[dict[str, str]]:
    """Each node's address and state. UserError where the head refuses our token, ClusterLost where none answers."""
    try:
        found = GcsClient(address=head).get_all_node_info(timeout=patience_s)
    except AuthenticationError:
        raise UserError(f"The head at {head} refuses this host's token: it must be the same on every host.") from None
    except (RayError, OSError, RuntimeError) as error:
        if "nauthenticated" in str(error):
            raise UserError(f"The head at {head} refuses this host's token: it must be the same everywhere.") from None
        raise ClusterLost(f"No head answers at {head}") from error
    return [{"address": node.node_manager_address, "state": _state(node)} for node in found.values()]


def _state(node: object) -> str:
    return "alive" if getattr(node, "state", 0) == 0 else "dead"
