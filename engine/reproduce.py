"""Again, checked: are the pixels of a repeated job the ones that it first made, and if not, what differs and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.codec import decode
from storage.images import ImageStore
from storage.job import Image, Job
from storage.recipe import changes


def compare(
    original: Job,
    images: Sequence[Image],
    recipe: Mapping[str, Any],
    trace: Mapping[str, Any],
    store: ImageStore,
) -> tuple[bool, dict[str, Any] | None]:
    """(identical, difference): difference is None where identical, else {"pixels", "max", "changed"}.

    `pixels` is the share of pixels that differ over all pictures, `max` the largest channel difference 0-255; both are
    None where pictures cannot be compared (another size, or the first file is gone).
    """
    before = [image.pixels_sha256 for image in original.images]
    if before == [image.pixels_sha256 for image in images]:
        return True, None
    changed = changes(original.recipe or {}, recipe) + changes(_how(original.trace), _how(trace))
    pairs = zip(original.images, images, strict=False)
    measured = [_measure(store.read(old.sha256), store.read(new.sha256)) for old, new in pairs]
    known = [m for m in measured if m is not None] if len(before) == len(images) else []
    whole = bool(known) and len(known) == len(measured)
    return False, {
        "pixels": float(np.mean([share for share, _ in known])) if whole else None,
        "max": max(largest for _, largest in known) if whole else None,
        "changed": changed,
    }


def _how(trace: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of a trace can change pixels; how long it took cannot."""
    return {name: value for name, value in (trace or {}).items() if name != "seconds"}


def _measure(old: bytes | None, new: bytes | None) -> tuple[float, int] | None:
    if old is None or new is None:
        return None
    before, after = decode(old)[0], decode(new)[0]
    if before.shape != after.shape:
        return None
    apart: NDArray[np.int16] = np.abs(before.astype(np.int16) - after.astype(np.int16))
    return float((apart.max(axis=2) > 0).mean()), int(apart.max())
