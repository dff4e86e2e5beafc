"""Housekeeping: what is referred to stays, whatever else goes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from storage.database import Database
from storage.images import DAY_S, ImageStore
from storage.job import Method, Withdrawn
from storage.queue import Queue
from storage.settings import StoreSettings
from storage.upkeep import Upkeep
from tests.factories import make_image, make_params, make_request, make_result

NOW = 2_000_000_000.0
pictures = st.lists(st.tuples(st.booleans(), st.floats(0, 3 * DAY_S)), max_size=12)  # referred to, age in seconds


@hypothesis(max_examples=25, deadline=None)
@given(pictures)
def test_never_a_picture_that_is_referred_to(found: Sequence[tuple[bool, float]]) -> None:
    """Whatever lies there: what is referred to stays, what is young stays, all else goes."""
    with tempfile.TemporaryDirectory() as folder:
        images = ImageStore(Path(folder))
        names = [images.put(str(number).encode()) for number in range(len(found))]
        for name, (_, age) in zip(names, found, strict=True):
            os.utime(images.path(name), (NOW - age, NOW - age))
        keep = {name for name, (referred, _) in zip(names, found, strict=True) if referred}
        gone = images.collect(keep, now=NOW)
        left = {name for name in names if images.read(name) is not None}
        assert left == {n for n, (referred, age) in zip(names, found, strict=True) if referred or age <= DAY_S}
        assert gone == len(names) - len(left)


async def test_every_kind_of_reference_counts(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """Kept pictures, handed-in ones and previews survive a collection; a lone file does not."""
    images = ImageStore(settings.images)
    names = (b"kept", b"handed in", b"begun from", b"shown", b"lone")
    kept, handed_in, start, shown, lone = (images.put(name) for name in names)
    await queue.submit(make_request())
    (job,) = await queue.claim("engine", 1)
    await queue.complete(job, make_result(images=(make_image(sha256=kept),)))
    await queue.submit(make_request(params=make_params(image=handed_in, start=start, method=Method.FUSEDREAM)))
    (job,) = await queue.claim("engine", 1)
    await queue.progress(job, 1, 2, shown, 0.1)
    for name in (kept, handed_in, start, shown, lone):
        os.utime(images.path(name), (1.0, 1.0))
    assert await Upkeep(db, images).collect() == 1
    assert [images.read(name) is not None for name in (kept, handed_in, start, shown, lone)] == [True] * 4 + [False]


async def test_an_old_file_that_is_found_again_is_young(db: Database, settings: StoreSettings) -> None:
    """A picture that was drawn again, and whose row is still to come, is not collected from under its job."""
    images = ImageStore(settings.images)
    sha256 = images.put(b"pixels")
    os.utime(images.path(sha256), (1.0, 1.0))
    assert images.put(b"pixels") == sha256
    assert await Upkeep(db, images).collect() == 0


async def test_retention(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """Dreams that ended before the last days lose their pictures and keep their row; younger and waiting ones stay."""
    images, clock = ImageStore(settings.images), [NOW - 10 * DAY_S]
    old_queue = Queue(db, settings, clock=lambda: clock[0])
    names = []
    for at in (NOW - 10 * DAY_S, NOW - DAY_S):
        clock[0] = at
        await old_queue.submit(make_request())
        (job,) = await old_queue.claim("engine", 1)
        sha256 = images.put(job.id.encode())
        await old_queue.complete(job, make_result(images=(make_image(sha256=sha256),)))
        os.utime(images.path(sha256), (at, at))
        names.append(job.id)
    await queue.submit(make_request(), now=1.0)
    upkeep = Upkeep(db, images, clock=lambda: NOW)
    assert await upkeep.let_go(7) == 1
    assert await upkeep.let_go(7) == 0
    assert await upkeep.collect() == 1
    old, young = [await queue.get(name) for name in names]
    assert old is not None
    assert young is not None
    assert (old.images, old.withdrawn) == ((), Withdrawn.DELETED)
    assert images.read(young.images[0].sha256) is not None
    assert len(await queue.waiting()) == 1
