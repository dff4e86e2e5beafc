"""Pictures for many hosts: an object store or whatever else fsspec speaks to, with a folder of this host in front.

    DREAMBOT_IMAGES=s3://bucket/prefix

A picture is there before a job refers to it, because `put` returns when the other side has it; named by its content, it
may be put twice and by two hosts at once. What is fetched is checked against its name, so half a picture is none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Set
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from storage.errors import StorageError, UserError
from storage.images import DAY_S, ImageStore


class RemoteImages(ImageStore):
    """The pictures under one URL; with `keep`, those that this host has seen lie in `root` as well."""

    def __init__(self, url: str, root: Path, *, keep: bool = True, full: Callable[[], None] = lambda: None) -> None:
        super().__init__(root, full=full)
        self._keep = keep
        self._files, self._base = _opened(url)

    def put(self, content: bytes) -> str:
        """Store a picture on both sides; its sha256. One that is there is written again only to be young again."""
        sha256 = super().put(content) if self._keep else hashlib.sha256(content).hexdigest()
        try:
            age_s = self._age_s(self._there(sha256), len(content))
            if age_s is None or age_s > DAY_S / 2:
                self._files.makedirs(self._there(sha256).rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(self._there(sha256), content)
        except Exception as error:  # each file system of fsspec has errors of its own
            raise StorageError(f"The picture {sha256} could not be stored: {error}") from error
        return sha256

    def path(self, sha256: str) -> Path:
        """Where a picture is on this host, fetched if need be."""
        path = self.place(sha256)
        if not path.exists():
            self.read(sha256)
        return path

    def read(self, sha256: str) -> bytes | None:
        """A picture, fetched if need be; None if neither side has it whole."""
        if (here := self._lying(sha256)) is not None:
            return here
        try:
            content: bytes = self._files.cat_file(self._there(sha256))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageError(f"The picture {sha256} could not be fetched: {error}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            return None
        if self._keep:
            super().put(content)
        return content

    def remove(self, digests: Iterable[str]) -> None:
        """Delete pictures on both sides; another host's copy goes when its own collector comes by."""
        wanted = list(digests)
        super().remove(wanted)
        for sha256 in wanted:
            self._rm(self._there(sha256))

    def collect(self, keep: Set[str], *, older_than_s: float = DAY_S, now: float | None = None) -> int:
        """Delete what is not in `keep` and older than a day, on both sides; how many on the other."""
        super().collect(keep, older_than_s=older_than_s, now=now)
        self._files.invalidate_cache()
        found = self._files.find(self._base, detail=True)
        at = time.time() if now is None else now
        old = [
            name
            for name, entry in found.items()
            if Path(name).stem not in keep and at - _changed_at(entry, at) > older_than_s
        ]
        for name in old:
            self._rm(name)
        return len(old)

    def _there(self, sha256: str) -> str:
        return f"{self._base}/{self.place(sha256).relative_to(self._root)}"

    def _age_s(self, name: str, size: int) -> float | None:
        """Seconds since it was written; None if it is not there, or is not whole."""
        self._files.invalidate_cache()
        try:
            entry = self._files.info(name)
        except FileNotFoundError:
            return None
        now = time.time()
        return now - _changed_at(entry, now) if entry["size"] == size else None

    def _rm(self, name: str) -> None:
        try:
            self._files.rm_file(name)
        except FileNotFoundError:
            return


def _opened(url: str) -> tuple[Any, str]:
    """The file system and the path in it; UserError if it is not to be had here."""
    try:
        files, base = fsspec.core.url_to_fs(url)
    except ImportError as error:
        scheme = url.partition(":")[0]
        raise UserError(f"DREAMBOT_IMAGES is {scheme}://…, and that needs a further package: {error}.") from None
    except ValueError as error:
        raise UserError(f"DREAMBOT_IMAGES is file:///PATH or a URL like s3://BUCKET/PATH: {error}.") from None
    return files, str(base).rstrip("/")


def _changed_at(entry: dict[str, Any], unknown: float) -> float:
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return unknown  # a file system that does not say is never cleaned
