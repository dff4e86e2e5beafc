"""How a CLIP training run is told what to do and is kept: its TOML, its options, its clock, its checkpoint.

It knows files and time. It does not know what a step computes.
"""

import argparse
import contextlib
import json
import logging
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.training.data import data_folder
from engine.training.features import fast_dtype

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
KEEP_EVERY = 120.0  # seconds
SAY_EVERY = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's TOML: every number."""

    seed: int
    pack_weight: float
    text: Mapping[str, Any]
    image: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides."""

    data: Path
    out: Path
    cache: Path
    device: torch.device
    minutes: float
    resume: bool
    shipped: bool = False  # a first start begins with the pack's weights


def load_plan(name: str) -> Plan:
    """`scorer.toml` or `judge.toml` beside this file."""
    return Plan(**tomllib.loads((HERE / f"{name}.toml").read_text()))


def options(prog: str, out: str, argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the command line; sets torch's threads and turns the log on."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {prog}")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long; a later start goes on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--from-shipped",
        action="store_true",
        help="begin a run without checkpoint at the pack's weights; a text run then learns its head alone",
    )
    parser.add_argument("--out", type=Path, default=Path(".training") / out)
    parser.add_argument("--cache", type=Path, default=Path(".training") / "cache")
    found = parser.parse_args(argv)
    torch.set_num_threads(found.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = torch.device(found.device)
    folder, shipped = data_folder(environ), found.from_shipped
    return Options(folder, found.out, found.cache, device, found.minutes, found.resume, shipped)


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 where the machine is fast in it, else nothing."""
    chosen = fast_dtype(device)
    return torch.autocast(device.type, chosen) if chosen is torch.bfloat16 else contextlib.nullcontext()


class Keeper:
    """Counts steps, keeps a checkpoint every two minutes and at the end, says how it goes, and heeds a stop file."""

    def __init__(self, chosen: Options, parts: Mapping[str, Any]) -> None:
        self.parts, self.path, self.step = parts, chosen.out / "checkpoint.pt", 0
        self.until = time.monotonic() + 60 * chosen.minutes
        self.log, self.stop = chosen.out / "log.jsonl", chosen.out / "stop"
        self._recent: list[Mapping[str, float]] = []
        chosen.out.mkdir(parents=True, exist_ok=True)
        self.stop.unlink(missing_ok=True)
        if chosen.resume and self.path.is_file():
            kept = torch.load(self.path, map_location=chosen.device, weights_only=True)
            for name, part in parts.items():
                part.load_state_dict(kept[name])
            self.step = int(kept["step"])
            log.info("going on from step %d", self.step)

    def steps(self, count: int) -> Iterator[int]:
        """The steps that are left, while there is time."""
        kept = said = time.monotonic()
        first = self.step
        while self.step < count and time.monotonic() < self.until and not self.stop.exists():
            yield self.step
            self.step += 1
            now = time.monotonic()
            if now - kept > KEEP_EVERY:
                self.keep()
                kept = time.monotonic()
            if now - said > SAY_EVERY:
                self._say((self.step - first) / (now - said), count)
                said, first = now, self.step
        self.keep()

    def note(self, figures: Mapping[str, float]) -> None:
        """One step's losses, averaged into the next line of the log."""
        self._recent.append(figures)

    def keep(self) -> None:
        """Write the checkpoint beside, then rename it."""
        part = self.path.with_suffix(".part")
        state: dict[str, Any] = {name: part_of.state_dict() for name, part_of in self.parts.items()}
        torch.save({**state, "step": self.step}, part)
        part.replace(self.path)

    def _say(self, speed: float, count: int) -> None:
        names = self._recent[-1].keys() if self._recent else ()
        means = {name: round(sum(row[name] for row in self._recent) / len(self._recent), 4) for name in names}
        self._recent.clear()
        line = {"step": self.step, "of": count, "steps_per_s": round(speed, 3), **means}
        log.info("%s", json.dumps(line))
        with self.log.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
