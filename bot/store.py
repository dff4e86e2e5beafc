"""Everything of storage that people's commands need, opened together.

Knows how the parts are put together and nothing of what is done with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.settings import BotSettings
from storage.database import Database
from storage.engines import Engines
from storage.feed import Feed
from storage.forgetting import Forgetting
from storage.images import ImageStore
from storage.leads import Leads
from storage.outbox import Outbox
from storage.preferences import Preferences
from storage.queue import Queue
from storage.users import Users
from storage.votes import Votes
from storage.withdrawals import Withdrawals


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The open store."""

    settings: BotSettings
    database: Database
    queue: Queue
    feed: Feed
    engines: Engines
    outbox: Outbox
    leads: Leads
    users: Users
    images: ImageStore
    votes: Votes
    preferences: Preferences
    withdrawals: Withdrawals
    forgetting: Forgetting


@asynccontextmanager
async def open_store(settings: BotSettings) -> AsyncIterator[Store]:
    """Open the database, migrating it where needed, and what stands on it."""
    async with Database.open(settings) as database:
        yield Store(
            settings=settings,
            database=database,
            queue=Queue(database, settings),
            feed=Feed(database, settings.poll_s),
            engines=Engines(database),
            outbox=Outbox(database),
            leads=Leads(database),
            users=Users(database),
            images=open_images(settings),
            votes=Votes(database),
            preferences=Preferences(database),
            withdrawals=Withdrawals(database),
            forgetting=Forgetting(database),
        )


def open_images(settings: BotSettings) -> ImageStore:
    """The pictures: a folder, or another place with a folder of this host in front."""
    if settings.images_elsewhere is None:
        return ImageStore(settings.images)
    from storage.remote_images import RemoteImages  # its library is loaded only where it is used

    return RemoteImages(settings.images_elsewhere, settings.images)
