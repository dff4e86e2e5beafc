"""`python -m tests.fakes.discord [--ledger FILE]`: serve on a free port of loopback, and print its address."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from aiohttp import web

from tests.fakes.discord.clock import Clock
from tests.fakes.discord.control import Control
from tests.fakes.discord.faults import Faults
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.ledger import Ledger
from tests.fakes.discord.rest import Rest
from tests.fakes.discord.schema import Contract, document
from tests.fakes.discord.world import World


async def serve(ledger_file: Path | None, port: int) -> None:
    """Until SIGTERM."""
    clock, switches, contract = Clock(), Faults(), Contract(document())
    ledger, world = Ledger(ledger_file, clock), World(clock)
    gateway = Gateway(world, ledger)
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(Rest(world, ledger, contract, switches).routes())
    app.add_routes(Control(world, clock, ledger, gateway, switches, contract).routes())
    app.router.add_get("/gateway", gateway.connect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    world.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    print(world.base, flush=True)  # noqa: T201 - whoever started this process reads it
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(serve(options.ledger, options.port))


if __name__ == "__main__":
    main()
