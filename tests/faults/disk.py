"""A disk as a power cut leaves it: the recorder's log read back, and the files that may be found after any moment.

Strict: a write is certain once its file was fsynced, a name once its folder was. What was not synced is lost, kept, or
torn into sectors, by chance. Knows files; nothing of SQLite or dreams.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
HEAD = struct.Struct("<cIQI")
SOURCE = Path(__file__).with_name("disk.c")


def compiled(folder: Path) -> Path:
    """The shim, compiled; FileNotFoundError without gcc."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise FileNotFoundError("gcc")
    made = folder / "disk.so"
    command = [gcc, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return made


@dataclass(frozen=True, slots=True)
class Change:
    """One call of the log: `o`pen (create), `w`rite, `t`runcate, `s`ync, `u`nlink, `r`ename, `m`kdir."""

    what: str
    path: Path
    at: int
    data: bytes


def changes(log: Path) -> Iterator[Change]:
    """The log, in order."""
    raw, at = log.read_bytes(), 0
    while at < len(raw):
        what, length, offset, size = HEAD.unpack_from(raw, at)
        at += HEAD.size
        yield Change(what.decode(), Path(raw[at : at + length].decode()), offset, raw[at + length : at + length + size])
        at += length + size


@dataclass(slots=True, eq=False)
class File:
    """What is certain of a file's content, and what was done to it since its last fsync."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: truncated to that length

    def sync(self) -> None:
        """All of it is certain."""
        for at, data in self.pending:
            _apply(self.certain, at, data)
        self.pending.clear()

    def found(self, dice: random.Random) -> bytes:
        """One content that a power cut may leave."""
        content = bytearray(self.certain)
        for at, data in self.pending:
            fate = dice.choice(("lost", "whole", "torn"))
            if fate == "whole" or (fate == "torn" and data is None):
                _apply(content, at, data)
            elif fate == "torn" and data is not None:
                for start, piece in _sectors(at, data):
                    if dice.random() < 0.5:
                        _apply(content, start, piece)
        return bytes(content)


class Disk:
    """Files and folders below one root, while the log is played."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, File | None] = {}  # as the system shows them; None is a folder
        self._names: dict[Path, File | None] = {}  # whose names are certain
        self._pending: dict[Path, list[tuple[Path, File | None, bool]]] = {}  # by folder; False: the name goes
        for path in sorted(root.rglob("*")):
            self._files[path] = None if path.is_dir() else File(bytearray(path.read_bytes()))
        self._names.update(self._files)

    def play(self, change: Change) -> None:
        """One more call has happened."""
        path, file = change.path, self._files.get(change.path)
        match change.what:
            case "o":
                self._name(path, File())
            case "m":
                self._name(path, None)
            case "w" if file is not None:
                file.pending.append((change.at, change.data))
            case "t" if file is not None:
                file.pending.append((change.at, None))
            case "s" if file is not None:
                file.sync()
            case "s":
                self._sync(path)
            case "u":
                self._unname(path)
            case "r":
                self._unname(path)
                self._name(Path(change.data.decode()), file)

    def crash(self, dice: random.Random, into: Path) -> None:
        """Write one state that a power cut at this moment may leave into the folder `into`."""
        names = dict(self._names)
        for pending in self._pending.values():
            for path, file, there in pending[: dice.randint(0, len(pending))]:  # a folder's changes are kept in order
                if there:
                    names[path] = file
                else:
                    names.pop(path, None)
        for path, file in sorted(names.items(), key=lambda item: item[0]):
            target = into / path.relative_to(self._root)
            if not target.parent.is_dir():
                continue  # the folder's own name was lost
            if file is None:
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(file.found(dice))

    def _name(self, path: Path, file: File | None) -> None:
        self._files[path] = file
        self._pending.setdefault(path.parent, []).append((path, file, True))

    def _unname(self, path: Path) -> None:
        file = self._files.pop(path, None)
        self._pending.setdefault(path.parent, []).append((path, file, False))

    def _sync(self, folder: Path) -> None:
        for path, file, there in self._pending.pop(folder, []):
            if there:
                self._names[path] = file
            else:
                self._names.pop(path, None)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
    else:
        content.extend(bytes(max(0, at - len(content))))
        content[at : at + len(data)] = data


def _sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    start = at
    while start < at + len(data):
        end = min((start // SECTOR + 1) * SECTOR, at + len(data))
        yield start, data[start - at : end - at]
        start = end
