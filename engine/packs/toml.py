"""A pack from its TOML: every key, or the wrong one by name. Paths are relative to the TOML, pulled files to `kept`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import BadWeights
from engine.packs.pack import ClipSpec, Drawing, Label, Pack
from engine.weights import Record, Source, WeightFile

IMAGENET = "imagenet"  # labels = "imagenet": the thousand names that a pull writes down
OPTIONS = {  # of every architecture: keyword arguments of its loader in engine.generators
    "embedded": frozenset[str](),
    "biggan-deep": frozenset({"truncation", "hf_compat"}),
    "biggan": frozenset({"bn_eps"}),
    "sagan": frozenset[str](),
    "clip-gen": frozenset[str](),  # a VQGAN and a GPT, no generator
}
KEYS = frozenset(Pack.__slots__) - {"labels_file", "toml", "drawing"}
FILE_KEYS = frozenset({"file", "source", "sha256", "size", "about_mb", "inside"})
DRAWING_KEYS = frozenset(Drawing.__slots__)
CLIP_KEYS = FILE_KEYS | {"model", "tag", "config", "merges"}


def read_pack(path: Path, kept: Path | None = None) -> Pack:
    """The pack of a TOML; `kept` is where pulled files lie (None: there are none). BadWeights names what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return replace(_Reading(path.parent, kept).pack(raw), toml=path)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, OSError) as error:
        raise BadWeights(f"{path.name} is not a pack: {type(error).__name__}: {error}.") from error


class _Reading:
    """One TOML being read."""

    def __init__(self, folder: Path, kept: Path | None) -> None:
        self.folder, self.kept = folder, kept or folder

    def pack(self, raw: dict[str, Any]) -> Pack:
        """Every key, or the first one that is missing or unknown."""
        _only(raw, KEYS, "a pack")
        return Pack(
            name=_text(raw, "name"),
            title=_text(raw, "title"),
            licence=_text(raw, "licence"),
            architecture=_known(raw["architecture"]),
            resolution=int(raw["resolution"]),
            labels=self.labels(raw["labels"], int(raw.get("variants", 1))),
            labels_file=self.labels_file if raw["labels"] == IMAGENET else None,
            generator=self.optional(raw, "generator"),
            vqgan=self.optional(raw, "vqgan"),
            gpt=self.optional(raw, "gpt", DRAWING_KEYS),
            drawing=Drawing(**{name: value for name, value in raw.get("gpt", {}).items() if name in DRAWING_KEYS}),
            words=self.optional(raw, "words"),
            scorer=self.clip(raw["scorer"]),
            judge=self.clip(raw["judge"]),
            templates=tuple(raw["templates"]),
            variants=int(raw.get("variants", 1)),
            truncation=raw.get("truncation"),
            z_scale=float(raw.get("z_scale", 1.0)),
            options=_options(raw),
            outside_below=raw.get("outside_below"),
            offered=bool(raw.get("offered", True)),
        )

    @property
    def labels_file(self) -> Path:
        """Where a pull writes ImageNet's names."""
        return self.kept / "imagenet.labels.json"

    def labels(self, raw: Any, variants: int) -> tuple[Label, ...]:
        """The TOML's own, or ImageNet's; none before these have been pulled."""
        if isinstance(raw, str):
            if raw != IMAGENET:
                raise ValueError(f'labels is "{IMAGENET}" or a list of tables, not {raw!r}')
            found = json.loads(self.labels_file.read_text(encoding="utf-8")) if self.labels_file.is_file() else []
            raw = [{"name": name, "synonyms": words} for name, words in found]
        labels = tuple(_label(entry, variants) for entry in raw)
        if len({label.name for label in labels}) != len(labels):
            raise ValueError("two labels have the same name")
        return labels

    def optional(self, raw: dict[str, Any], table: str, more: frozenset[str] = frozenset()) -> WeightFile | None:
        """A table that a pack may do without; `more` keys of it are not the file's."""
        return self.file(raw[table], FILE_KEYS | more, table) if table in raw else None

    def file(self, raw: dict[str, Any], known: frozenset[str], table: str) -> WeightFile:
        """A file beside the TOML with its digest, or one that comes from elsewhere, as the record of its pull says."""
        _only(raw, known, f"[{table}]")
        if "source" not in raw:
            return WeightFile(_inside(self.folder, raw["file"]), raw["sha256"], int(raw["size"]))
        described = {key: raw.get(key) for key in ("sha256", "size", "about_mb", "inside")}
        source, path = Source(_place(raw["source"], self.folder), **described), _inside(self.kept, raw["file"])
        record = Record.read(path)
        if record is None or source.sha256 not in (None, record.download_sha256):
            return WeightFile(path, None, None, source)
        return WeightFile(path, record.sha256, record.size, source)

    def clip(self, raw: dict[str, Any]) -> ClipSpec:
        """A CLIP brings its own config, or names a built-in one and its weights' tag."""
        config = _inside(self.folder, raw["config"]) if "config" in raw else None
        merges = _inside(self.folder, raw["merges"]) if "merges" in raw else None
        if config is None and "tag" not in raw:
            raise ValueError("a CLIP needs its own config, or a model that open_clip knows and the tag of its weights")
        model, weights = config.stem if config else raw["model"], self.file(raw, CLIP_KEYS, "a CLIP")
        return ClipSpec(model=model, weights=weights, tag=raw.get("tag"), config=config, merges=merges)


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is text, not {value!r:.40}")
    return value


def _known(architecture: str) -> str:
    if architecture not in OPTIONS:
        raise ValueError(f"architecture is one of {', '.join(OPTIONS)}; {architecture!r} is not")
    return architecture


def _options(raw: dict[str, Any]) -> dict[str, float | bool]:
    options: dict[str, float | bool] = raw.get("options", {})
    _only(options, OPTIONS[raw["architecture"]], f"[options] of {raw['architecture']}")
    return options


def _label(entry: dict[str, Any], variants: int) -> Label:
    label = Label(entry["name"], tuple(entry.get("synonyms", ())), tuple(entry.get("looks", ())))
    if label.looks and len(label.looks) != variants:
        raise ValueError(f"label {label.name!r} has {len(label.looks)} looks; the pack says {variants} variants")
    return label


def _only(raw: dict[str, Any], known: frozenset[str], where: str) -> None:
    for key in raw:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}; it may have {', '.join(sorted(known)) or 'none'}")


def _inside(folder: Path, name: str) -> Path:
    """A path that cannot leave the folder, whoever wrote the TOML."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"file is a path inside the pack's folder, not {name!r}")
    return folder / name


def _place(place: str, folder: Path) -> str:
    """Addresses as they are; a local path from the TOML's folder."""
    if place.startswith("hub:") and place.count("/") < 2:
        raise ValueError(f"a source on the Hub is hub:OWNER/REPO/FILE, not {place!r}")
    return place if place.startswith(("https://", "http://", "hub:")) else str(folder / place)
