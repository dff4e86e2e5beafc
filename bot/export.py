"""A person's own data as one zip file: `jobs.jsonl` with every job, recipe and score, and the pictures by their digest.

Knows files only. What is handed over on a platform has room for so many bytes: the jobs are whole, the latest pictures
are in, older ones are left out and counted.
"""

from __future__ import annotations

import json
import secrets
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.report import report
from storage.errors import UserError
from storage.job import Job

ROOM = 8_000_000  # bytes: below what any platform takes
PER_ENTRY = 256  # bytes that the zip needs beside a picture
KEPT_S = 3_600.0  # an export that was handed over is of no further use after that

Where = Callable[[str], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A zip file that was written."""

    path: Path
    jobs: int
    pictures: int
    left_out: int = 0


def export_room(folder: Path, jobs: Sequence[Job], picture: Where, room: int) -> Exported:
    """Write into `folder`, with at most about `room` bytes; exports of an hour ago are removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folder.glob("*.zip"):
        if old.stat().st_mtime < time.time() - KEPT_S:
            old.unlink(missing_ok=True)
    return _write(folder / f"dreams-{secrets.token_hex(8)}.zip", jobs, picture, room)


def write_export(path: str, jobs: Sequence[Job], picture: Where) -> Exported:
    """Write everything to a new file; UserError where that cannot be."""
    target = Path(path)
    if target.exists():
        raise UserError(f"export names a file that is not there yet; {path!r} is.")
    try:
        return _write(target, jobs, picture, None)
    except OSError as error:
        raise UserError(f"export names a file in a folder that can be written; {path!r}: {error.strerror}.") from None


def _write(target: Path, jobs: Sequence[Job], picture: Where, room: int | None) -> Exported:
    lines = "".join(json.dumps(_line(job, picture), ensure_ascii=False) + "\n" for job in jobs).encode()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    left_out, written, used = 0, set[str](), 2 * PER_ENTRY
    try:
        with zipfile.ZipFile(draft, "w") as archive:
            archive.writestr("jobs.jsonl", lines, zipfile.ZIP_DEFLATED)
            used += archive.getinfo("jobs.jsonl").compress_size
            for digest in dict.fromkeys(image.sha256 for job in jobs for image in job.images):
                file = picture(digest)
                if not file.is_file():
                    continue
                size = file.stat().st_size + PER_ENTRY
                if room is not None and used + size > room:
                    left_out += 1
                else:
                    used += size
                    archive.write(file, f"pictures/{digest}.png")  # a PNG is packed already
                    written.add(digest)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Exported(path=target, jobs=len(jobs), pictures=len(written), left_out=left_out)


def _line(job: Job, picture: Where) -> dict[str, Any]:
    known = report(job, picture)
    images = [image | {"path": f"pictures/{image['sha256']}.png"} for image in known["images"]]
    times = {"created_at": job.created_at, "finished_at": job.finished_at}
    recipe = None if job.recipe is None else dict(job.recipe)
    return known | times | {"images": images, "recipe": recipe, "votes": job.votes, "withdrawn": job.withdrawn}
