"""Downloads: one file over HTTP, gone on with where it was cut, and given its name only once it is what it should be.

Knows ranges, entity tags, sizes and digests; knows no packs, and nothing of what is in a file.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.errors import PullFailed, Unreachable
from engine.weights import sha256_of

CHUNK = 1 << 20
TRIES = 5  # in a row, without a single byte gained
OURSELVES = ("127.0.0.1", "::1", "localhost")
Told = Callable[[int, int | None], None]  # bytes there are, bytes there will be


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to download; sha256 and size where they are known beforehand.

    Where they are not, what the server announces is held to: the Hub names the digest of every large file.
    """

    url: str
    sha256: str | None = None
    size: int | None = None


def fetch(wanted: Wanted, target: Path, told: Told, *, timeout: float = 30.0, pause: float = 0.5) -> None:
    """Download to `target`; what came before a cut stays in `target.part` and is gone on with.

    Unreachable where no connection comes about; PullFailed where the server refuses, sends something else, or is cut
    off again and again. In no case does a file stand at `target` that is not what `wanted` says.
    """
    _refuse_plain(wanted.url)
    target.parent.mkdir(parents=True, exist_ok=True)
    part, failed, announced = target.with_name(target.name + ".part"), 0, list[str]()
    while True:
        before = _size(part)
        try:
            _stream(wanted, part, told, timeout, announced)
            break
        except (OSError, http.client.HTTPException) as error:
            failed = 0 if _size(part) > before else failed + 1
            if failed == 1 and not _size(part) and isinstance(error, urllib.error.URLError):
                raise Unreachable(f"{urlsplit(wanted.url).hostname} cannot be reached ({error.reason}).") from error
            if failed == TRIES:
                raise PullFailed(f"The download from {wanted.url} was cut off; pull again to go on with it.") from error
            time.sleep(pause * 2**failed)
    _check(replace(wanted, sha256=wanted.sha256 or (announced[-1] if announced else None)), part)
    part.replace(target)
    _tag(part).unlink(missing_ok=True)


def _refuse_plain(url: str) -> None:
    """Weights decide pictures, and not all have a digest: they come over TLS, or from this very machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in OURSELVES):
        raise PullFailed(f"Weights are downloaded from https addresses; {url} is not one.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, never to a plain address, and keeps the digest that the Hub announces on the way."""

    def __init__(self, announced: list[str]) -> None:
        self._announced = announced

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """urllib's own hook, between an answer and the next request."""
        _refuse_plain(newurl)
        digest = headers.get("X-Linked-Etag", "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", digest):
            self._announced.append(digest)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _stream(wanted: Wanted, part: Path, told: Told, timeout: float, announced: list[str]) -> None:
    """One connection, from where `part` ends to the end of the file. A cut is an OSError or an HTTPException."""
    begin = _size(part)
    if begin and begin == wanted.size:
        return
    request = urllib.request.Request(wanted.url, headers=_headers(part, begin))
    try:
        answer = urllib.request.build_opener(_Redirects(announced)).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        _refused(error, wanted, part)
        return
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise PullFailed(f"{wanted.url} answers with a page, not with a file; download it by hand.")
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            begin = 0
        length = answer.headers.get("Content-Length")
        total = begin + int(length) if length else None
        _room(wanted, part, total, begin)
        _tag(part).write_text(answer.headers.get("ETag", ""), encoding="utf-8")
        _copy(answer, part, begin, total, told)


def _headers(part: Path, begin: int) -> dict[str, str]:
    """Only of the very same file may the rest be asked for: without a strong tag, it starts anew."""
    headers = {"User-Agent": "dreambot", "Accept-Encoding": "identity"}
    tag = ""
    with contextlib.suppress(OSError):
        tag = _tag(part).read_text(encoding="utf-8")
    if begin and tag and not tag.startswith("W/"):
        headers |= {"Range": f"bytes={begin}-", "If-Range": tag}
    return headers


def _refused(error: urllib.error.HTTPError, wanted: Wanted, part: Path) -> None:
    """416 says that what we have is all, or is not of this file; 5xx and 429 pass; the rest is final."""
    if error.code == 416:
        if error.headers.get("Content-Range") != f"bytes */{_size(part)}":
            part.unlink(missing_ok=True)
            raise ConnectionError("the file has changed at its source") from error
        return
    if error.code >= 500 or error.code in (408, 429):
        raise ConnectionError(f"answered {error.code}") from error
    raise PullFailed(f"{wanted.url} answers {error.code} {error.reason}.") from error


def _room(wanted: Wanted, part: Path, total: int | None, begin: int) -> None:
    """Before the first byte: is it the size that it should be, and does the disk hold it?"""
    if wanted.size is not None and total is not None and total != wanted.size:
        raise PullFailed(f"{wanted.url} has {total} bytes; its pack says {wanted.size}.")
    free = shutil.disk_usage(part.parent).free
    if total is not None and free < total - begin:
        raise PullFailed(f"{part.parent} has {free / 1e6:.0f} MB left; {(total - begin) / 1e6:.0f} MB are needed.")


def _copy(answer: http.client.HTTPResponse, part: Path, begin: int, total: int | None, told: Told) -> None:
    with part.open("r+b" if begin else "wb") as file:
        file.seek(begin)
        there = begin
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            there += len(chunk)
            told(there, total)
    if total is not None and there < total:
        raise ConnectionError(f"cut off after {there} of {total} bytes")


def _check(wanted: Wanted, part: Path) -> None:
    """PullFailed, and nothing of it kept, where it is another file than the one that is wanted."""
    fault = None
    if wanted.size is not None and _size(part) != wanted.size:
        fault = f"has {_size(part)} bytes; {wanted.size} were expected"
    elif wanted.sha256 is not None and (found := sha256_of(part)) != wanted.sha256:
        fault = f"has sha256 {found}; {wanted.sha256} was expected"
    if fault:
        part.unlink()
        _tag(part).unlink(missing_ok=True)
        raise PullFailed(f"What came from {wanted.url} {fault}. Nothing of it was kept.")


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
