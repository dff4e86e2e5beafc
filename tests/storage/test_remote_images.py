"""Pictures that several hosts share, by way of fsspec's file system in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from storage.errors import StorageError, UserError
from storage.images import DAY_S
from storage.remote_images import RemoteImages
from storage.settings import StoreSettings

URL = "memory://pictures/of"


@pytest.fixture
def there() -> Iterator[Any]:
    """The other side, empty."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_two_hosts(there: Any, tmp_path: Path) -> None:
    """What one host has stored another reads, and shows as a file of its own; putting it twice changes nothing."""
    one, other = RemoteImages(URL, tmp_path / "one"), RemoteImages(URL, tmp_path / "other")
    sha256 = one.put(b"a lemon")
    assert other.put(b"a lemon") == sha256
    assert len(there.find("/pictures")) == 1
    third = RemoteImages(URL, tmp_path / "third")
    assert third.path(sha256).read_bytes() == b"a lemon"
    assert third.path(sha256).is_relative_to(tmp_path / "third")
    assert third.read("0" * 64) is None


def test_an_engine_keeps_none(there: Any, tmp_path: Path) -> None:
    """A host that nobody cleans keeps no picture of its own, and reads them all the same."""
    engine = RemoteImages(URL, tmp_path / "engine", keep=False)
    sha256 = engine.put(b"a lemon")
    assert engine.read(sha256) == b"a lemon"
    assert not (tmp_path / "engine").exists()


def test_half_a_picture_is_none(there: Any, tmp_path: Path) -> None:
    """What is not what its name says is not read, and the next put mends it."""
    one = RemoteImages(URL, tmp_path / "one")
    sha256 = one.put(b"a lemon")
    (name,) = there.find("/pictures")
    there.pipe_file(name, b"a le")
    other = RemoteImages(URL, tmp_path / "other")
    assert other.read(sha256) is None
    assert other.put(b"a lemon") == sha256
    assert there.cat_file(name) == b"a lemon"


def test_removed_and_collected(there: Any, tmp_path: Path) -> None:
    """What is removed is gone on both sides; what is collected is old and nobody's, and a put makes it young."""
    one = RemoteImages(URL, tmp_path / "one")
    kept, lone, gone = (one.put(word) for word in (b"kept", b"lone", b"gone"))
    one.remove([gone, gone])
    assert {Path(name).stem for name in there.find("/pictures")} == {kept, lone}
    assert one.collect({kept}) == 0
    assert one.collect({kept}, now=time.time() + 2 * DAY_S) == 1
    assert RemoteImages(URL, tmp_path / "other").read(lone) is None
    assert one.read(lone) is None
    assert one.read(kept) == b"kept"


def test_trouble_is_told(there: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that the other side did not take is not stored: its job is not told that it is."""

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("not yours")

    one = RemoteImages(URL, tmp_path / "one")
    monkeypatch.setattr(type(there), "pipe_file", refused)
    with pytest.raises(StorageError, match="not yours"):
        one.put(b"a lemon")


def test_by_url(tmp_path: Path) -> None:
    """file:// is a folder with all that a folder promises; what needs another package, or is none, says so."""
    shared = StoreSettings.load({"DREAMBOT_HOME": str(tmp_path), "DREAMBOT_IMAGES": f"file://{tmp_path}/shared"})
    assert (shared.images, shared.images_elsewhere) == (tmp_path / "shared", None)
    (tmp_path / "dreambot.toml").write_text('images = "s3://bucket/dreams"\n')
    bucket = StoreSettings.load({"DREAMBOT_HOME": str(tmp_path)})
    assert (bucket.images, bucket.images_elsewhere) == (tmp_path / "images", "s3://bucket/dreams")
    with pytest.raises(UserError, match=r"DREAMBOT_IMAGES is s3://…, and that needs a further package: .*s3fs"):
        RemoteImages("s3://bucket/dreams", tmp_path)
    with pytest.raises(UserError, match="DREAMBOT_IMAGES is file:///PATH or a URL like"):
        RemoteImages("nonsense://bucket", tmp_path)
