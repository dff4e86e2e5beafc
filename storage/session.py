"""A session with a PostgreSQL server: how it is opened, and what its errors mean.

Knows the driver and the server's codes; nothing of locks, tables or jobs.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import StorageError, StoreBroken, StoreBusy, StoreFull, StoreLost

if TYPE_CHECKING:
    from storage.settings import StoreSettings

PATIENCE_S = 5.0  # until a server that does not answer is none
LOST_S = 10.0  # a session that stands still inside a transaction for so long is ended by the server: its host is gone
LOST = ("57P01", "57P02", "57P03", "25P03", "40001", "40P01")  # ended by the server, in one way or another; undone
FULL, LOCKED = ("53100",), ("55P03", "53300", "53200", "57014")
BROKEN = ("XX001", "XX002", "58030")
FAREWELL = asyncpg.InternalClientError  # what the driver says when the server's farewell came between two calls
UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, FAREWELL)


def translated(error: Exception) -> StorageError:
    """What an error of the driver, or of the network, means to us."""
    why = getattr(error, "orig", None) or error
    state = str(getattr(why, "sqlstate", None) or "")
    cut = getattr(error, "connection_invalidated", False) or isinstance(why, OSError | asyncpg.InterfaceError)
    cut = cut or isinstance(why, FAREWELL) or isinstance(why.__cause__, FAREWELL)
    if cut or state in LOST or state.startswith("08"):
        return StoreLost(f"The connection to the store was lost: {str(why) or type(why).__name__}")
    if state in LOCKED:
        return StoreBusy()
    if state in FULL:
        return StoreFull("The disk of the database server is full.")
    if state in BROKEN:
        return StoreBroken(f"The store failed: {why}")
    return StorageError(f"The store refused: {why}")


def connect_arguments(settings: StoreSettings) -> dict[str, Any]:
    """What asyncpg is told to connect; a password may also come from PGPASSWORD or a password file."""
    url = make_url(str(settings.store))
    session = {
        "application_name": "dreambot",
        "lock_timeout": str(round(settings.busy_s * 1000)),
        "idle_in_transaction_session_timeout": str(round(LOST_S * 1000)),
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "jit": "off",  # our statements are short
    }
    return {**url.translate_connect_args(username="user"), **url.query, "server_settings": session}


def engine(settings: StoreSettings, **options: Any) -> AsyncEngine:
    arguments = connect_arguments(settings)

    async def connect() -> Any:
        return await asyncpg.connect(**arguments, timeout=PATIENCE_S)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        json_serializer=_json,
        **options,
    )


def _json(value: Any) -> str:
    """JSON as PostgreSQL takes it: a score that is no number is null, as `json` has no word for it."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value))


def finite(value: Any) -> Any:
    """The value with null for every number that is none."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: finite(one) for key, one in value.items()}
        case list() | tuple():
            return [finite(one) for one in value]
    return value
