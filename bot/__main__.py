"""The bot process: the composition root. Which adapters there are is known to `surfaces`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from bot.absence import Absence
from bot.delivery import Delivery
from bot.house import House
from bot.housekeeping import Housekeeping
from bot.metrics import Metrics
from bot.settings import BotSettings
from bot.store import open_store
from bot.surfaces import Surfaces
from storage import logs
from storage.errors import DreambotError, UserError
from storage.vitals import Pulse, Vitals

log = logging.getLogger("bot")

SWITCH_S = 0.0005  # every statement is answered by a thread, which must not wait 5 ms for the loop's next breath


async def run(settings: BotSettings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_store(settings) as store:
        surfaces = Surfaces(settings, House.of(store))
        adapters = surfaces.adapters
        works = [
            store.database.broke(),
            Delivery(store, {adapter.surface: adapter for adapter in adapters}).run(),
            Absence(store).run(),
            Housekeeping(store).run(),
            *(surfaces.serve(adapter) for adapter in adapters),
        ]
        pulse, metrics = Pulse(), Metrics(store)
        metrics.lag.set_function(lambda: pulse.lag)
        if settings.bot_port:
            works += [pulse.run(), metrics.run()]
        pages = {
            "metrics": metrics.text,
            "health": pulse.hangs,
            "ready": lambda: metrics.unready() or surfaces.unready(),
        }
        with Vitals(settings.metrics_host, settings.bot_port, **pages):
            tasks = [asyncio.create_task(work) for work in works]
            log.info("the bot serves %s", ", ".join(adapter.surface for adapter in adapters))
            await _first_end(tasks, stop)
        for adapter in adapters:
            await adapter.close()


async def _first_end(tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait until we are told to stop, or something broke; the supervisor starts us again then."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((*tasks, stopped), return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, stopped):
        task.cancel()
    await asyncio.gather(*tasks, stopped, return_exceptions=True)
    for task in done - {stopped}:
        task.result()


def main() -> int:
    """Run the bot; exit status 2 if the settings are wrong, 1 if the store cannot be trusted any more."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it introduces every plugin
    try:
        settings = BotSettings.load()
        logs.set_up(settings.log_level, as_json=settings.log_format == "json", secrets=settings.secrets())
        sys.setswitchinterval(SWITCH_S)
        asyncio.run(run(settings))
    except UserError as error:
        log.error("%s", error)
        return 2
    except DreambotError as error:
        log.error("the bot cannot go on: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
