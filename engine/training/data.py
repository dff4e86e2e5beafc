"""The training photographs, read from the folder that DREAMBOT_DATA names and nowhere else.

It knows the archives' layout and digests, and decodes their JPEG and WebP bytes into uint8 arrays, keeping a decoded
copy where it is told to. It does not know what the pictures are for; it never downloads and never unpickles.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pictures = NDArray[np.uint8]  # [count, 64, 64, 3]

SHA256 = {
    "tiny_imagenet_train_0.npz": "d83fcde639db036dc91a6828f7014a334c2ddcf28f97379a84c829e0e0fcc1ef",
    "tiny_imagenet_train_1.npz": "86a6f59b748007a2148db5cf6210b4935dc2aaba2ca3ef911e9fbbc87b4c6cc7",
    "tiny_imagenet_val.npz": "00a9b18fdc6b0c3b675d345b04de04be5dcfdd0825b50cd630ad66f1c9ddce0d",
    "flickr8k_64.npz": "05c5e7bd8314f13a6b55538c39e91665e4b98cf54ef35fbb726f81243744437f",
    "mobilenet_v2.npz": "62f6ce3b790c7b5de8470f6646279c5b4a212bc82e3336a17217046dde52ce6b",
}
TINY = {"train": ("tiny_imagenet_train_0.npz", "tiny_imagenet_train_1.npz"), "val": ("tiny_imagenet_val.npz",)}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Photographs with their Tiny-ImageNet label numbers, 0..199."""

    pictures: Pictures
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Captioned:
    """Photographs with the sentences that people wrote about them."""

    pictures: Pictures
    captions: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the photographs; refuses a missing setting and a missing folder in one sentence."""
    named = environ.get("DREAMBOT_DATA", "")
    if not named:
        raise ValueError("DREAMBOT_DATA is not set: it must name the folder that holds the training photographs.")
    folder = Path(named)
    if not folder.is_dir():
        raise ValueError(f"DREAMBOT_DATA names {folder}, which is not a folder.")
    return folder


def open_archive(folder: Path, name: str) -> Mapping[str, NDArray[Any]]:
    """One archive of SHA256's list, refused unless it is byte for byte the one that was trained on."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: DREAMBOT_DATA must hold {', '.join(SHA256)}.")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256[name]:
        raise ValueError(f"{path} has sha256 {found}, expected {SHA256[name]}.")
    archive: Mapping[str, NDArray[Any]] = np.load(path, allow_pickle=False)
    return archive


def tiny_imagenet(
    folder: Path, split: Literal["train", "val"], labels: Sequence[int], cache: Path | None = None
) -> Labelled:
    """The photographs of these label numbers, in the archive's order; `cache` is a folder for the decoded copy."""
    kept = None if cache is None else _cached(cache, f"tiny-{split}", ",".join(map(str, sorted(labels))))
    if kept is not None and kept[0].is_file() and kept[1].is_file():
        return Labelled(np.load(kept[0]), np.load(kept[1]))
    parts = [_tiny_part(open_archive(folder, name), labels) for name in TINY[split]]
    whole = Labelled(np.concatenate([part.pictures for part in parts]), np.concatenate([part.labels for part in parts]))
    if kept is not None:
        _keep(kept[0], whole.pictures)
        _keep(kept[1], whole.labels)
    return whole


def tiny_imagenet_names(folder: Path) -> tuple[str, ...]:
    """The data set's own names of its 200 labels."""
    classes = json.loads(open_archive(folder, TINY["val"][0])["classes"].tobytes())
    return tuple(row["name"] for row in classes)


def tiny_imagenet_indices(folder: Path) -> tuple[int, ...]:
    """The 200 labels' places among ImageNet's 1,000 (MobileNet's outputs are one further)."""
    classes = json.loads(open_archive(folder, TINY["val"][0])["classes"].tobytes())
    return tuple(int(row["imagenet_index"]) for row in classes)


def flickr8k(folder: Path, cache: Path | None = None) -> Captioned:
    """All captioned photographs, in the archive's order; `cache` is a folder for the decoded copy."""
    archive = open_archive(folder, "flickr8k_64.npz")
    meta = json.loads(archive["meta"].tobytes())
    kept = None if cache is None else _cached(cache, "flickr8k", "all")[0]
    if kept is not None and kept.is_file():
        pictures = np.load(kept)
    else:
        data, offset = archive["data"], archive["offset"]
        pictures = np.stack([_decode(data[offset[i] : offset[i + 1]].tobytes()) for i in range(len(offset) - 1)])
        if kept is not None:
            _keep(kept, pictures)
    captions = tuple(tuple(sentences) for sentences in meta["captions"])
    return Captioned(pictures, captions, tuple(meta["names"]))


def _tiny_part(archive: Mapping[str, NDArray[Any]], labels: Sequence[int]) -> Labelled:
    data, offset, head, label = archive["data"], archive["offset"], archive["head"], archive["label"]
    headers = (archive["header0"].tobytes(), archive["header1"].tobytes())
    rows = np.flatnonzero(np.isin(label, np.asarray(labels)))
    pictures = [_decode(headers[head[i]] + data[offset[i] : offset[i + 1]].tobytes()) for i in rows]
    stacked = np.stack(pictures) if pictures else np.zeros((0, 64, 64, 3), np.uint8)
    return Labelled(stacked, label[rows].astype(np.int64))


def _decode(encoded: bytes) -> Pictures:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def _cached(cache: Path, what: str, chosen: str) -> tuple[Path, Path]:
    digest = hashlib.sha256(f"{what}:{chosen}:{sorted(SHA256.items())}".encode()).hexdigest()[:12]
    return cache / f"{what}-{digest}-pictures.npy", cache / f"{what}-{digest}-labels.npy"


def _keep(path: Path, array: NDArray[Any]) -> None:
    """Write beside, then rename: a run killed here leaves no half file under the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, array, allow_pickle=False)
    part.replace(path)
