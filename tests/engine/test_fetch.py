"""Downloads: gone on with after a cut, held to their digests, and never half a file under the real name."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import PullFailed, Unreachable
from engine.fetch import Wanted, fetch
from tests.fakes.publisher import Publisher, publishing

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATH = "/weights.bin"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """Serving one file."""
    with publishing() as opened:
        opened.files[PATH] = CONTENT
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it should come to lie."""
    return tmp_path / "weights.bin"


def get(wanted: Wanted, target: Path) -> list[tuple[int, int | None]]:
    """Fetch without pauses; what was told on the way."""
    told: list[tuple[int, int | None]] = []
    fetch(wanted, target, lambda there, total: told.append((there, total)), timeout=20.0, pause=0.0)
    return told


def left(target: Path) -> set[str]:
    """What stands in the folder."""
    return {path.name for path in target.parent.iterdir()}


def test_a_file_comes_whole_with_its_progress(publisher: Publisher, target: Path) -> None:
    """The bytes, nothing beside them, and a last word that says all."""
    told = get(Wanted(publisher.url(PATH), DIGEST, len(CONTENT)), target)
    assert target.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert left(target) == {target.name}


def test_a_cut_connection_is_gone_on_with(publisher: Publisher, target: Path) -> None:
    """Cut three times: each time only the rest is asked for."""
    publisher.cuts = [100_000, 50_000, 1]
    get(Wanted(publisher.url(PATH), DIGEST), target)
    assert target.read_bytes() == CONTENT
    asked = [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert publisher.asked == [(PATH, each) for each in asked]


def test_a_pull_that_gave_up_is_gone_on_with_by_the_next(publisher: Publisher, target: Path) -> None:
    """What came stays; the next one asks for the rest of it."""
    publisher.cuts = [120_000, 0, 0, 0, 0, 0]
    with pytest.raises(PullFailed, match="cut off; pull again"):
        get(Wanted(publisher.url(PATH), DIGEST), target)
    assert not target.exists()
    publisher.asked.clear()
    get(Wanted(publisher.url(PATH), DIGEST), target)
    assert publisher.asked == [(PATH, "bytes=120000-")]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_the_rest_of_another_file_is_not_taken(publisher: Publisher, target: Path, ranges: bool) -> None:
    """The file changed between two pulls, or the server knows no ranges: it starts anew."""
    publisher.cuts = [120_000, 0, 0, 0, 0, 0]
    with pytest.raises(PullFailed):
        get(Wanted(publisher.url(PATH)), target)
    publisher.ranges = ranges
    publisher.files[PATH] = CONTENT[::-1]
    get(Wanted(publisher.url(PATH)), target)
    assert target.read_bytes() == CONTENT[::-1]


def test_all_bytes_without_a_name_are_enough(publisher: Publisher, target: Path) -> None:
    """Killed between the last byte and the name: the server says that there is no more, and the file gets its name."""
    target.with_name("weights.bin.part").write_bytes(CONTENT)
    target.with_name("weights.bin.part.etag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    get(Wanted(publisher.url(PATH), DIGEST), target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"sha256": "0" * 64}, f"has sha256 {DIGEST}; {'0' * 64} was expected. Nothing of it was kept"),
        ({"size": 299_999}, "has 300000 bytes; its pack says 299999"),
    ],
)
def test_another_file_is_refused_and_not_kept(
    publisher: Publisher, target: Path, wanted: dict[str, object], says: str
) -> None:
    """By digest after the download, by size before it."""
    with pytest.raises(PullFailed, match=says):
        get(Wanted(publisher.url(PATH), **wanted), target)
    assert left(target) == set()


def test_the_hubs_own_digest_is_held_to(publisher: Publisher, target: Path) -> None:
    """The Hub announces a large file's digest where it redirects; our pack need not know it."""
    publisher.moved["/hub"] = (publisher.url(PATH), {"X-Linked-Etag": f'"{DIGEST}"'})
    get(Wanted(publisher.url("/hub")), target)
    publisher.moved["/hub"] = (publisher.url(PATH), {"X-Linked-Etag": f'"{"0" * 64}"'})
    with pytest.raises(PullFailed, match=f"{'0' * 64} was expected"):
        get(Wanted(publisher.url("/hub")), target.with_name("other"))


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(publisher: Publisher, target: Path) -> None:
    """503 and 429 pass; 404 is final."""
    publisher.refusals = [503, 429]
    get(Wanted(publisher.url(PATH)), target)
    assert len(publisher.asked) == 3
    publisher.asked.clear()
    with pytest.raises(PullFailed, match="answers 404"):
        get(Wanted(publisher.url("/nothing")), target)
    assert len(publisher.asked) == 1


def test_a_page_is_no_file(publisher: Publisher, target: Path) -> None:
    """What a drive answers with when it wants a click."""
    publisher.pages.add(PATH)
    with pytest.raises(PullFailed, match="a page, not with a file"):
        get(Wanted(publisher.url(PATH)), target)


@pytest.mark.parametrize("url", ["http://example.org/w.bin", "ftp://example.org/w.bin", "file:///etc/passwd"])
def test_weights_come_over_tls(publisher: Publisher, target: Path, url: str) -> None:
    """Neither an address nor a redirect may be plain, except on this machine."""
    with pytest.raises(PullFailed, match="https"):
        get(Wanted(url), target)
    publisher.moved["/there"] = (url, {})
    with pytest.raises(PullFailed, match=r"https|not allowed"):
        get(Wanted(publisher.url("/there")), target)


def test_no_network_is_told_at_once(target: Path) -> None:
    """Nobody listens: no second try, and the caller can say what to do instead."""
    with publishing() as gone:
        url = gone.url(PATH)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
        get(Wanted(url), target)
    assert left(target) == set()
