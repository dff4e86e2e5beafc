"""Pictures as files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from storage.errors import StorageError, StoreFull
from storage.images import DAY_S, ImageStore


def test_put_and_read(tmp_path: Path) -> None:
    """A picture is found under its digest, and storing it twice is storing it once."""
    images = ImageStore(tmp_path / "images")
    sha256 = images.put(b"pixels")
    assert sha256 == hashlib.sha256(b"pixels").hexdigest() == images.put(b"pixels")
    assert images.read(sha256) == b"pixels"
    assert [path.name for path in (tmp_path / "images").rglob("*.*")] == [f"{sha256}.png"]


def test_missing_and_broken(tmp_path: Path) -> None:
    """A file that is not there, or not what its name says, is None, and is put right by the next put."""
    images = ImageStore(tmp_path)
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    assert images.read(sha256) is None
    images.put(b"pixels")
    images.path(sha256).write_bytes(b"pix")
    assert images.read(sha256) is None
    images.put(b"pixels")
    assert images.read(sha256) == b"pixels"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_no_other_file(tmp_path: Path, name: str) -> None:
    """Nothing but a digest names a file."""
    with pytest.raises(StorageError, match="not a sha256"):
        ImageStore(tmp_path).path(name)


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves no file under the picture's name, and no scrap."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / hashlib.sha256(b"pixels").hexdigest()[:2]).mkdir()
    told: list[str] = []
    with pytest.raises(StoreFull, match="full"):
        ImageStore(tmp_path, full=lambda: told.append("full")).put(b"pixels")
    assert told == ["full"]
    assert not list(tmp_path.rglob("*.*"))


def test_collect(tmp_path: Path) -> None:
    """Collecting deletes what nobody refers to, but not what is younger than a day."""
    images = ImageStore(tmp_path)
    kept, old = images.put(b"kept"), images.put(b"old")
    now = images.path(old).stat().st_mtime
    assert images.collect({kept}, now=now + DAY_S / 2) == 0
    assert images.collect({kept}, now=now + DAY_S * 2) == 1
    assert (images.read(kept), images.read(old)) == (b"kept", None)
