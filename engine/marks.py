"""What every weight of a converted file was when it was converted: a digest a tensor, in the file's own header.

A permuted or swapped weight keeps its name and its shape; its digest it does not keep. Knows safetensors' bytes and no
tensor library; why a weight is another than it was is for its layout to say (engine.generators.layout).
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FIELD = "dreambot.tensors"
LENGTH = 16  # hex digits of a digest: nobody forges them, they find accidents


def digest(shape: Sequence[int], content: bytes | memoryview) -> str:
    """Of one tensor: its sizes and its bytes, as they lie in the file."""
    found = hashlib.sha256(json.dumps(list(shape)).encode())
    found.update(content)
    return found.hexdigest()[:LENGTH]


def changed(path: Path) -> dict[str, str]:
    """The weights of a safetensors file that are not what it was marked with, and what they were, in the file's order.

    Empty for a file without marks. Costs one sha256 of the file.
    """
    stated: dict[str, str] = json.loads(_header(path).get("__metadata__", {}).get(FIELD, "{}"))
    return {name: stated[name] for name, found in _digests(path) if stated.get(name, found) != found} if stated else {}


def _digests(path: Path) -> Iterator[tuple[str, str]]:
    header = _header(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = 8 + int.from_bytes(mapped[:8], "little")
        for name, tensor in header.items():
            if name != "__metadata__":
                first, last = tensor["data_offsets"]
                with memoryview(mapped)[start + first : start + last] as content:
                    found = digest(tensor["shape"], content)
                yield name, found


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header
