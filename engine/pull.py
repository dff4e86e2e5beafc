"""`packs pull` and `packs add`: weights from where a pack says to where the engine finds them.

A pull downloads, verifies, converts and checks the layout before a file gets its name, and writes down what it found.
Knows sources and folders; imports no tensors (engine.convert does, in a child).
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.convert import check, convert, is_safetensors
from engine.errors import PullFailed, Unreachable
from engine.fetch import Told, Wanted, fetch
from engine.packs import Pack, read_pack
from engine.weights import Record, Source, WeightFile, sha256_of
from storage.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
HAND = ".download"  # behind a file's name: what was downloaded for it, by us or by hand
Labels = Callable[[], list[tuple[str, list[str]]]]


def pull(pack: Pack, kept: Path, told: Callable[[str], Told], labels: Labels) -> list[Path]:
    """Bring what is missing of a pack; the files that came. PullFailed is one sentence that says what to do.

    `told(name)` is asked once a download for the function that hears of its bytes; `labels` for ImageNet's names.
    """
    came = []
    with _alone(kept):
        for file, layout in _files(pack):
            if file.source is not None and not file.here and not _known(file):
                _bring(file, file.source, layout, told(file.path.name), pack.name)
                came.append(file.path)
        if pack.labels_file is not None and not pack.labels_file.is_file():
            draft = pack.labels_file.with_name(pack.labels_file.name + ".draft")
            draft.write_text(json.dumps(labels()), encoding="utf-8")
            draft.replace(pack.labels_file)
            came.append(pack.labels_file)
    return came


def add(toml: Path, packs: dict[str, Pack], kept: Path) -> Pack:
    """Take a pack's TOML and the local files that it names into `kept`; addresses are left to a pull.

    UserError where the name is taken; BadWeights or PullFailed where a file is not what the TOML says.
    """
    if not toml.is_file():
        raise UserError(f"{toml} is not a file; a pack is added by its TOML.")
    pack = read_pack(toml, kept)
    if not NAME.fullmatch(pack.name):
        raise UserError(f"A pack's name is lower-case letters, digits and dashes, at most 40; {pack.name!r} is not.")
    if pack.name in packs:
        raise UserError(f"There is a pack {pack.name} already; give this one another name.")
    with _alone(kept):
        for file, layout in _files(pack):
            if file.source is None:
                if layout is not None:  # else an engine would find out, at every start
                    check(file.checked(), layout=layout)
                _copy(file.checked(), toml.parent, kept)
            elif not file.here and not file.source.remote:
                _bring(file, file.source, layout, lambda there, total: None, pack.name)
        for part in (pack.scorer.config, pack.scorer.merges, pack.judge.config, pack.judge.merges):
            if part is not None:
                _copy(part, toml.parent, kept)
        _copy(toml, toml.parent, kept, pack.name + ".toml")
    return read_pack(kept / f"{pack.name}.toml", kept)


def _files(pack: Pack) -> list[tuple[WeightFile, str | None]]:
    """Every file and the layout that its weights must have; a CLIP's is open_clip's business."""
    layouts = [(pack.generator, pack.architecture), (pack.vqgan, "vqgan"), (pack.gpt, "gpt"), (pack.words, None)]
    clips: list[tuple[WeightFile | None, str | None]] = [(clip.weights, None) for clip in (pack.scorer, pack.judge)]
    return [(file, layout) for file, layout in [*layouts, *clips] if file is not None]


def _known(file: WeightFile) -> bool:
    """Has it come since the pack was read? Two packs, and a pack's two CLIPs, may share a file."""
    record, source = Record.read(file.path), file.source
    same = record is not None and source is not None and source.sha256 in (None, record.download_sha256)
    return same and file.path.is_file()


def _bring(file: WeightFile, source: Source, layout: str | None, told: Told, pack: str) -> None:
    """Download, verify, convert, check, name, record: in this order, so that a crash leaves nothing half done."""
    hand = file.path.with_name(file.path.name + HAND)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    origin = hand if source.remote else Path(source.place)
    if source.remote and not hand.is_file():
        try:
            fetch(Wanted(source.address, source.sha256, source.size), hand, told)
        except Unreachable as error:
            raise PullFailed(
                f"{error} Download {source.address} where there is a network, put it at {hand}, and run "
                f"`dreambot packs pull {pack}` again."
            ) from error
    size, digest = _checked(origin, source)
    draft = file.path.with_name(file.path.name + ".draft")
    try:
        if not is_safetensors(origin):
            convert(origin, draft, inside=source.inside, layout=layout)
        elif layout is not None:
            check(origin, layout=layout)
    except PullFailed as error:
        raise PullFailed(f"{error} It lies at {origin}.") from error
    if is_safetensors(origin):
        draft = origin if source.remote else Path(shutil.copyfile(origin, draft))
    written = Record(source.place, digest, size, sha256_of(draft), draft.stat().st_size)
    draft.replace(file.path)
    written.write(file.path)
    if source.remote:
        hand.unlink(missing_ok=True)


def _checked(origin: Path, source: Source) -> tuple[int, str]:
    """Size and digest of a download; PullFailed where the pack says otherwise. A file put there by hand stays."""
    if not origin.is_file():
        raise PullFailed(f"{origin} is not there.")
    size, digest = origin.stat().st_size, sha256_of(origin)
    if source.size not in (None, size):
        raise PullFailed(f"{origin} has {size} bytes; its pack says {source.size}. Take it away and pull again.")
    if source.sha256 not in (None, digest):
        raise PullFailed(f"{origin} has sha256 {digest}; its pack says {source.sha256}. Take it away and pull again.")
    return size, digest


def _copy(path: Path, folder: Path, kept: Path, name: str | None = None) -> None:
    """Into `kept` under the name it has in `folder`; another file of that name is not overwritten."""
    target = kept / (name or path.relative_to(folder))
    if target.is_file():
        if sha256_of(target) != sha256_of(path):
            raise UserError(f"{target} is another file of that name; rename yours.")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + ".draft")
    shutil.copyfile(path, draft)
    draft.replace(target)


@contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """One pull at a time: two would write into one `.part`."""
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Another pull is at work in {kept}; wait for its end.") from None
        yield
