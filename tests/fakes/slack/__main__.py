"""`python -m tests.fakes.slack`: the peer as a process. Prints its address as one line once it listens."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from tests.fakes.slack.server import Peer


async def main() -> None:
    """Until the process is ended."""
    peer = Peer()
    runner = web.AppRunner(peer.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    peer.workspace.base = f"http://{host}:{port}"
    sys.stdout.write(peer.workspace.base + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
