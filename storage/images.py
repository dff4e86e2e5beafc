"""Pictures as files named by their content: `ab/abcdef….png`.

Knows files and digests. A file is complete before its name appears, and durable before a job refers to it; a crash in
between leaves a file that nobody refers to, never a job without its picture.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path

from storage.errors import StorageError, StoreFull

DAY_S = 86_400.0
_NAME = re.compile(r"[0-9a-f]{64}")


class ImageStore:
    """The pictures under one folder."""

    def __init__(self, root: Path, *, full: Callable[[], None] = lambda: None) -> None:
        self._root = root
        self._full = full  # called when a picture finds no room

    def put(self, content: bytes) -> str:
        """Store a picture; its sha256. Storing it again changes nothing."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.place(sha256)
        if not self._young_again(sha256):
            try:
                _write(path, content)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self._full()
                    raise StoreFull("The disk that holds the pictures is full.") from error
                raise StorageError(f"{path.name}: {error.strerror}") from error
        return sha256

    def path(self, sha256: str) -> Path:
        """Where a picture can be read from, if it is stored."""
        return self.place(sha256)

    def place(self, sha256: str) -> Path:
        """Where a picture is, or would be; StorageError unless `sha256` is one, so no other file can be named."""
        if not _NAME.fullmatch(sha256):
            raise StorageError(f"{sha256!r} is not a sha256.")
        return self._root / sha256[:2] / f"{sha256}.png"

    def read(self, sha256: str) -> bytes | None:
        """A picture; None if it is not there, or is not what its name says."""
        return self._lying(sha256)

    def _lying(self, sha256: str) -> bytes | None:
        """What lies in the folder itself."""
        try:
            content = self.place(sha256).read_bytes()
        except FileNotFoundError:
            return None
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def _young_again(self, sha256: str) -> bool:
        """Whether the picture is there; if so it counts as new, so that `collect` waits for the job that wants it."""
        with _held(self._root, fcntl.LOCK_SH):
            if self._lying(sha256) is None:
                return False
            os.utime(self.place(sha256))
            return True

    def remove(self, digests: Iterable[str]) -> None:
        """Delete pictures that nothing refers to; one that is not there is fine."""
        for sha256 in digests:
            self.place(sha256).unlink(missing_ok=True)

    def collect(self, keep: Set[str], *, older_than_s: float = DAY_S, now: float | None = None) -> int:
        """Delete the files that are not in `keep` and are older than a day; how many. A young one's job may come."""
        before = (time.time() if now is None else now) - older_than_s
        return sum(self._collected(path, before) for path in self._root.glob("??/*") if path.stem not in keep)

    def _collected(self, path: Path, before: float) -> bool:
        """One file, looked at and deleted while nobody can find it and count on it."""
        with _held(self._root, fcntl.LOCK_EX), contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                return True
        return False


@contextlib.contextmanager
def _held(root: Path, how: int) -> Iterator[None]:
    """The folder's lock, shared by who finds pictures, alone for who deletes one; a dead process holds none."""
    if not root.is_dir():
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _write(path: Path, content: bytes) -> None:
    _make(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _make(folder: Path) -> None:
    """The folder, its own name as durable as what will lie in it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the new name durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
