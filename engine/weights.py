"""Weights on disk: found, checked against the digest in their pack, read. safetensors only; nothing here unpickles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadWeights


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file that a pack names, with the digest and size that it must have."""

    path: Path
    sha256: str
    size: int

    def checked(self) -> Path:
        """The path, once size and sha256 agree; BadWeights says which file does not and why."""
        if not self.path.is_file():
            raise BadWeights(f"{self.path} is missing; run `dreambot packs verify` or reinstall the pack.")
        size = self.path.stat().st_size
        if size != self.size:
            raise BadWeights(f"{self.path} has {size} bytes; its pack says {self.size}.")
        found = sha256_of(self.path)
        if found != self.sha256:
            raise BadWeights(f"{self.path} has sha256 {found}; its pack says {self.sha256}.")
        return self.path


def sha256_of(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
