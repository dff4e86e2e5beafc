"""A job as one JSON object: the form that scripts rely on. Keys are never missing and never renamed.

Knows the job's record and where its pictures lie. Does not print.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.job import Image, Job


def report(job: Job, path: Callable[[str], Path], *, engine_start: float | None = None) -> dict[str, Any]:
    """Everything about a job; what was not measured or does not apply is null."""
    return {
        "job": job.id,
        "state": job.state.value,
        "reason": job.reason.value if job.reason else None,
        "message": job.message,
        "user": job.caller.user,
        "guild": job.caller.guild,
        "prompt": job.params.prompt,
        "method": job.params.method.value,
        "pack": job.params.pack,
        "seed": job.params.seed,
        "params": job.params.to_json(),
        "parent": job.parent,
        "again_of": job.again_of,
        "identical": job.identical,
        "difference": None if job.difference is None else dict(job.difference),
        "recipe_digest": job.recipe_digest,
        "note": job.note,
        "images": [_image(image, path) for image in job.images],
        "seconds": {
            "engine_start": None if engine_start is None else round(engine_start, 4),
            "queued": _since(job, job.started_at),
            "first_image": _since(job, job.first_image_at),
            "total": _since(job, job.finished_at),
        },
    }


def _image(image: Image, path: Callable[[str], Path]) -> dict[str, Any]:
    return {
        "path": str(path(image.sha256)),
        "sha256": image.sha256,
        "pixels_sha256": image.pixels_sha256,
        "width": image.width,
        "height": image.height,
        "clip_score": image.clip_score,
        "augclip_score": image.augclip_score,
        "judge_score": image.judge_score,
        "label": image.label,
        "candidate": image.candidate,
    }


def _since(job: Job, moment: float | None) -> float | None:
    """Seconds from acceptance to `moment`; a clock that was set back in between counts as none."""
    return None if moment is None else round(max(0.0, moment - job.created_at), 4)
