"""Whether a cluster may be started here: only with Ray's token authentication, for whoever reaches a port runs code.

Reads Ray's own variables, which Kubernetes sets as well; knows nothing else of Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storage.errors import UserError

SHORTEST = 32  # characters
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}  # nothing is reported to anybody
OWN_WAY = {  # unless somebody has set it otherwise
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # nodes wait so long for a lost head; Ray's own is 60
    "RAY_worker_niceness": "0",  # Ray's own is 15, and an engine gives way as far as it is told (engine.giving_way)
}


def check_token(environ: Mapping[str, str]) -> None:
    """UserError, in one sentence, where the token or the mode is missing."""
    if environ.get("RAY_AUTH_MODE") != "token" or len(_token(environ)) < SHORTEST:
        raise UserError(
            "A cluster starts only with a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with"
            f" {SHORTEST} secret characters or more (or RAY_AUTH_TOKEN to them), the same on every host."
        )


def _token(environ: Mapping[str, str]) -> str:
    if told := environ.get("RAY_AUTH_TOKEN"):
        return told.strip()
    if not (path := environ.get("RAY_AUTH_TOKEN_PATH")):
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"RAY_AUTH_TOKEN_PATH is a file that can be read; {path!r} is not: {error}.") from None
