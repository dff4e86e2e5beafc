"""A publisher of weights on this machine: an HTTP server with ranges, entity tags, cuts, redirects and other habits."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Publisher:
    """What it serves, by path, and what it was asked for. `cuts` ends the next answers after so many bytes."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)
    moved: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def publishing() -> Iterator[Publisher]:
    """Open on a free port, until the block ends."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, publisher)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    publisher.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, publisher: Publisher) -> None:
    """One request."""
    path, asked = handler.path, handler.headers.get("Range")
    publisher.asked.append((path, asked))
    if publisher.refusals:
        handler.send_error(publisher.refusals.pop(0))
    elif path in publisher.moved:
        target, headers = publisher.moved[path]
        _head(handler, 302, {"Location": target, "Content-Length": "0", **headers})
    elif path not in publisher.files:
        handler.send_error(404)
    else:
        _send(handler, publisher, publisher.files[path], asked)


def _send(handler: BaseHTTPRequestHandler, publisher: Publisher, content: bytes, asked: str | None) -> None:
    tag = f'"{hashlib.md5(content).hexdigest()}"'
    begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and publisher.ranges else 0
    if handler.headers.get("If-Range", tag) != tag:
        begin = 0
    headers = {"ETag": tag, "Content-Type": "text/html" if handler.path in publisher.pages else "application/octet"}
    if begin >= len(content) > 0 and begin:
        _head(handler, 416, headers | {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
        return
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    _head(handler, 206 if begin else 200, headers | {"Content-Length": str(len(content) - begin)})
    end = begin + publisher.cuts.pop(0) if publisher.cuts else len(content)
    handler.wfile.write(content[begin:end])


def _head(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
