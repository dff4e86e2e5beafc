"""`python -m engine.convert`: a published checkpoint becomes safetensors, once, in a process of its own.

The only place that reads pickled files: by `weights_only`, under limits on memory, time and the size of what it writes,
so that a file made to do harm can spoil this process at most. Knows which layout the result must have. What it wrote
is marked, weight by weight (engine.marks).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import PullFailed
from engine.marks import FIELD, digest

SECONDS = 900
SPARE = 6 << 30  # bytes of addresses beside the file's: torch alone maps three
FACTOR = 4  # how often a file may lie in memory
FAULT = "convert: "  # how a sentence for the person begins on standard error


def is_safetensors(path: Path) -> bool:
    """By its first bytes: eight for the header's length, then the header, which is JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def convert(source: Path, draft: Path, *, inside: str | None, layout: str | None) -> None:
    """Write `source`, a pickled checkpoint, to `draft` as safetensors, in a child; PullFailed says what is wrong.

    `inside` is the key of a pickled dict that holds the weights; `layout` a name in engine.generators.LAYOUTS that the
    weights must have, key by key (None: any).
    """
    _child(source, "--draft", str(draft), *(["--inside", inside] if inside else []), *_named(layout))


def check(source: Path, *, layout: str | None) -> None:
    """PullFailed unless a safetensors file has this layout, key by key (None: any); in a child, too."""
    _child(source, *_named(layout))


def _named(layout: str | None) -> list[str]:
    return ["--layout", layout] if layout else []


def _child(source: Path, *options: str) -> None:
    command = [sys.executable, "-m", "engine.convert", str(source), *options]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise PullFailed(f"{source.name} could not be read within {SECONDS} seconds.") from error
    if child.returncode != 0:
        said = [line.removeprefix(FAULT) for line in child.stderr.splitlines() if line.startswith(FAULT)]
        raise PullFailed(said[-1] if said else f"{source.name} could not be read (status {child.returncode}).")


def main(argv: list[str] | None = None) -> int:
    """The child. Exit status 1 and one sentence where the file is not what it should be."""
    parser = argparse.ArgumentParser(prog="python -m engine.convert", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--inside")
    parser.add_argument("--layout")
    asked = parser.parse_args(argv)
    size = asked.source.stat().st_size
    _limit(resource.RLIMIT_AS, SPARE + FACTOR * size)
    _limit(resource.RLIMIT_CPU, SECONDS)
    _limit(resource.RLIMIT_FSIZE, 2 * size + (1 << 20))
    _limit(resource.RLIMIT_CORE, 0)
    try:
        if asked.draft:
            rewrite(asked.source, asked.draft, asked.inside)
        fits(asked.draft or asked.source, asked.layout)
    except (ValueError, MemoryError, RuntimeError, OSError) as error:
        if asked.draft:
            asked.draft.unlink(missing_ok=True)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"{FAULT}{asked.source.name} is not taken: {first}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def rewrite(source: Path, draft: Path, inside: str | None) -> None:
    """A pickled checkpoint as safetensors; ValueError says what it holds instead of weights."""
    from safetensors.torch import save_file
    from torch import Tensor

    held = _read(source)
    if inside is not None:
        if not isinstance(held, Mapping) or inside not in held:
            raise ValueError(f"it holds no {inside!r}")
        held = held[inside]
    if not isinstance(held, Mapping) or not held:
        raise ValueError("it holds no weights by name")
    for key, value in held.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"it holds {key!r}, which is no weight")
    weights = {key: value.detach().clone().contiguous() for key, value in held.items()}
    marked = {key: digest(value.shape, _bytes(value)) for key, value in weights.items()}
    save_file(weights, draft, {FIELD: json.dumps(marked)})


def _bytes(weight: Any) -> memoryview:
    import torch

    content: memoryview = memoryview(weight.reshape(-1).view(torch.uint8).numpy())
    return content


def fits(path: Path, layout: str | None) -> None:
    """ValueError names the first key or shape that is not the layout's."""
    if layout is not None:
        from engine.generators import LAYOUTS

        LAYOUTS[layout](path)


def _read(source: Path) -> Any:
    """weights_only: tensors and plain containers. StudioGAN logs its best scores as numpy's numbers: these, too."""
    import pickle

    import numpy as np
    import torch

    with source.open("rb") as file:
        head = file.read(2)
    if head != b"PK" and head[:1] != b"\x80":
        raise ValueError("it is neither a safetensors file nor a checkpoint of PyTorch's")
    scalar = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    numbers += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than weights, and running what it holds is refused") from error


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main())
