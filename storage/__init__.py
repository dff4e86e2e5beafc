"""The job, its history and the queue: what bot and engine share.

This module knows only which SQLite library the process uses. SQLite before 3.51.3 can lose committed rows in WAL mode
("WAL-reset bug"), and Python is often built with such a copy; where the `pysqlite3` wheel is installed it takes the
place of the standard `sqlite3` module, for SQLAlchemy and aiosqlite too. Two SQLite copies in one process drop each
other's file locks, so the swap must come first: it is refused once an unsafe standard `sqlite3` has been imported.
"""

from __future__ import annotations

import importlib
import sys


def is_wal_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite may use WAL with several connections: 3.51.3 and later, or a back-port of its fix."""
    if version[:2] == (3, 44):
        return version >= (3, 44, 6)
    if version[:2] == (3, 50):
        return version >= (3, 50, 7)
    return version >= (3, 51, 3) and version[:2] != (3, 52)  # 3.52.0 was withdrawn without the fix


def use_safe_sqlite() -> None:
    """Put pysqlite3 in the place of `sqlite3`, where it is installed and the standard copy is not loaded and safe."""
    loaded = sys.modules.get("sqlite3")
    if loaded is not None and (loaded.__name__ == "pysqlite3" or is_wal_safe(loaded.sqlite_version_info)):
        return
    try:
        dbapi2 = importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return  # storage.database falls back to journal_mode=TRUNCATE if the standard copy is not safe
    if loaded is not None:
        raise ImportError(
            f"sqlite3 {loaded.sqlite_version} is loaded already and not safe here: import storage before sqlite3."
        )
    sys.modules["sqlite3"] = sys.modules["pysqlite3"]
    sys.modules["sqlite3.dbapi2"] = dbapi2


use_safe_sqlite()
