"""The store from behind: plain SQL on a connection of its own, in either database."""

from __future__ import annotations

from typing import Any

import pytest

from storage.settings import StoreSettings
from storage.sqlite import sqlite_connection
from tests import postgres

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # of a test about SQLite alone
on_postgresql = pytest.mark.parametrize("store", ["postgresql"], indirect=True)


def run(settings: StoreSettings, statement: str) -> list[tuple[Any, ...]]:
    """One statement, committed; its rows."""
    if settings.on_server:
        return postgres.fetch(str(settings.store), statement)
    with sqlite_connection(settings.path) as connection:
        return connection.execute(statement).fetchall()
