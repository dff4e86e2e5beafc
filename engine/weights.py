"""Weights on disk: where they lie, where they come from, checked against their digest. Nothing here runs one.

A file either lies beside its pack's TOML, which then states its digest, or is pulled from a source into
DREAMBOT_HOME/packs, where a record beside it states what the pull found (`Record`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open

from engine.errors import BadWeights
from engine.marks import changed

HUB = "hub:"
RECORD = ".json"  # behind a pulled file's own name


@dataclass(frozen=True, slots=True)
class Source:
    """Where a pulled file comes from, and what its pack knows beforehand of the file that is downloaded.

    `place` is `https://…`, `hub:OWNER/REPO/FILE[@REVISION]`, or a local path. sha256 and size are None where the
    pack's author did not know them: the first pull records what it found, and says so. `inside` is the key under
    which a pickled file holds its weights, where that is not the file itself.
    """

    place: str
    sha256: str | None = None
    size: int | None = None
    about_mb: float | None = None
    inside: str | None = None

    @property
    def remote(self) -> bool:
        """Not a local path?"""
        return self.place.startswith(("https://", "http://", HUB))

    @property
    def address(self) -> str:
        """The https address of a remote place."""
        if not self.place.startswith(HUB):
            return self.place
        from huggingface_hub import hf_hub_url  # heavy, and needed by a pull only

        name, _, revision = self.place.removeprefix(HUB).partition("@")
        owner, repository, file = name.split("/", 2)
        return hf_hub_url(f"{owner}/{repository}", file, revision=revision or None)

    @property
    def expected_size(self) -> int | None:
        """Bytes to expect, exactly or about; None where nothing is known."""
        return self.size or (round(self.about_mb * 1e6) if self.about_mb else None)


@dataclass(frozen=True, slots=True)
class Record:
    """What a pull wrote down: its source, what was downloaded, and what stands beside it now (converted, maybe)."""

    source: str
    download_sha256: str
    download_size: int
    sha256: str
    size: int

    @classmethod
    def read(cls, file: Path) -> Record | None:
        """The record of a pulled file; None where there is none. BadWeights where it cannot be read."""
        path = file.with_name(file.name + RECORD)
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise BadWeights(f"{path} cannot be read; pull its pack again.") from error

    def write(self, file: Path) -> None:
        """Beside the file, whole or not at all."""
        path = file.with_name(file.name + RECORD)
        draft = path.with_name(path.name + ".draft")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        draft.replace(path)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file that a pack names, with the digest and size that it must have: both None until it has been pulled."""

    path: Path
    sha256: str | None
    size: int | None
    source: Source | None = None

    @property
    def here(self) -> bool:
        """Is it there, and known? Says nothing of its content."""
        return self.sha256 is not None and self.path.is_file()

    def checked(self) -> Path:
        """The path, once size and sha256 agree; BadWeights says which file does not and why."""
        if self.source is not None and not self.here:
            raise BadWeights(f"{self.path} has not been pulled; run `dreambot packs pull` for its pack.")
        if not self.path.is_file():
            raise BadWeights(f"{self.path} is missing; run `dreambot packs verify` or reinstall the pack.")
        size = self.path.stat().st_size
        if size != self.size:
            raise BadWeights(f"{self.path} has {size} bytes; its pack says {self.size}.")
        found = sha256_of(self.path)
        if found != self.sha256:
            raise BadWeights(f"{self.path} has sha256 {found}; its pack says {self.sha256}.{_changed(self.path)}")
        return self.path


def _changed(path: Path) -> str:
    """A sentence on the first weight that is not what it was marked with; empty where none can be named."""
    try:
        names = list(changed(path))
    except (ValueError, TypeError, KeyError, OSError):  # whatever is there instead of a safetensors file
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" Changed since it was converted: weight {names[0]!r}{more}." if names else ""


def text_tower_digest(path: Path) -> str:
    """What decides a CLIP's text embeddings, whatever becomes of its image tower: names and numbers of all the rest."""
    found = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            if not name.startswith(("visual.", "logit_")):
                found.update(f"{name}\n".encode() + file.get_tensor(name).tobytes())
    return found.hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
