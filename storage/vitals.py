"""What a process says of itself on loopback: its metrics, whether it lives, and whether it is ready for work.

    /metrics   Prometheus text
    /health    200 while the event loop turns, else 503 and why: to be started again
    /ready     200 once and while work can be done, else 503 and why: to be left alone

A thread serves it, so that an event loop that hangs can still be told of. Knows HTTP and clocks; nothing of metrics.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from storage.errors import UserError

EVERY_S = 0.5
HANGS_S = 15.0  # an event loop that has not turned for so long hangs
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Answer = Callable[[], str]


class Pulse:
    """Turns with the event loop and measures how late it comes round."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at = clock()
        self.lag = 0.0  # seconds that the latest turn came late

    async def run(self) -> None:
        """For ever."""
        while True:
            self._turned_at = self._clock()
            await asyncio.sleep(EVERY_S)
            self.lag = max(0.0, self._clock() - self._turned_at - EVERY_S)

    def hangs(self) -> str:
        """Why this process is not well; empty if it is. Called from another thread."""
        since = self._clock() - self._turned_at
        return f"the event loop has not turned for {since:.0f} s" if since > HANGS_S else ""


class Vitals:
    """The three pages at `host`:`port`; with port 0 none. UserError if the port is taken."""

    def __init__(self, host: str, port: int, *, metrics: Answer, health: Answer, ready: Answer) -> None:
        self._address = (host, port)
        self._pages = {"/metrics": metrics, "/health": health, "/ready": ready}
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port if self._server else 0

    def __enter__(self) -> Self:
        if self._address[1]:
            self.open()
        return self

    def open(self) -> None:
        """Listen; port 0 is any free one here."""
        try:
            self._server = ThreadingHTTPServer(self._address, self._handler())
        except OSError as error:
            host, port = self._address
            raise UserError(f"Nothing can listen at {host}:{port} for metrics: {error.strerror}.") from None
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="vitals", daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self._pages

        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0  # a client that says nothing holds no thread for ever

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                if page is None:
                    return self._answer(404, f"one of {', '.join(pages)}")
                text = page()
                if page is pages["/metrics"]:
                    return self._answer(200, text)
                return self._answer(503 if text else 200, text or "ok")

            def _answer(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", TEXT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Every scrape would be a line."""

        return Handler
