"""`python -m engine.training gan`: train the generator until the clock, the count or a stop file ends it.

It knows the command line, the run folder and the clock. It does not know what a step does. A run can be killed at any
moment and goes on from its last checkpoint; `gan.toml` is read again at every checkpoint, so knobs can be turned live.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.generators.embedded import Shape
from engine.training import recipe, watch
from engine.training.begin import shipped_weights
from engine.training.data import data_folder
from engine.training.features import MobileNet
from engine.training.photographs import Photographs, prepare
from engine.training.trainer import Trainer
from engine.training.world import load_world


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run lives and how long it may last."""

    out: Path
    toml: Path
    device: str
    seconds: float

    @property
    def checkpoint(self) -> Path:
        """The state to go on from."""
        return self.out / "checkpoint.pt"

    @property
    def stop(self) -> Path:
        """Touch this file to end the run at once, with a checkpoint."""
        return self.out / "stop"


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Parse, prepare, train."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall clock of this call")
    parser.add_argument("--threads", type=int, default=1, help="1 is immune to a busy neighbour")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True, help="from the checkpoint")
    parser.add_argument(
        "--from-shipped", action="store_true", help="begin a run without checkpoint at the pack's weights"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path(".training/gan"), help="the run's folder")
    parser.add_argument("--recipe", type=Path, default=recipe.GAN, help="the run's numbers")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    run = Run(chosen.out, chosen.recipe, chosen.device, 60 * chosen.minutes)
    numbers = recipe.load_recipe(run.toml, run.device)
    world = load_world()
    folder = data_folder(environ)
    net = MobileNet.load(folder, run.device)
    photographs = prepare(folder, world, numbers, net, run.out.parent / "cache")
    names = tuple(label.name for label in world)
    shape = Shape(names, numbers.variants, numbers.dim_z, numbers.dim_y, numbers.widths)
    trainer = Trainer(shape, numbers, net, photographs)
    if chosen.resume and run.checkpoint.is_file():
        trainer.resume(torch.load(run.checkpoint, weights_only=True, map_location=run.device))
    elif chosen.from_shipped:
        trainer.begin(shipped_weights(trainer.generator, net, photographs))
    train(run, trainer, photographs)
    return 0


def train(run: Run, trainer: Trainer, photographs: Photographs) -> None:
    """Step, save now and then, stop when told."""
    run.out.mkdir(parents=True, exist_ok=True)
    run.stop.unlink(missing_ok=True)
    started = saved = snapped = time.monotonic()
    since = trainer.shown
    while not _ended(run, trainer, started):
        losses = trainer.step()
        now = time.monotonic()
        if now - saved < trainer.recipe.checkpoint_seconds:
            continue
        speed = (trainer.shown - since) / (now - saved)
        save(run, trainer)
        if now - snapped >= trainer.recipe.snapshot_seconds:
            watch.snapshot(run.out, trainer)
            snapped = now
        watch.report(run.out, trainer, photographs, {**losses, "speed": speed})
        saved, since = time.monotonic(), trainer.shown
        trainer.recipe = recipe.load_recipe(run.toml, run.device)
    save(run, trainer)
    watch.snapshot(run.out, trainer)


def save(run: Run, trainer: Trainer) -> None:
    """Write beside, then rename: a kill leaves the old checkpoint or the new one."""
    _write(run.checkpoint, trainer.state())


def _ended(run: Run, trainer: Trainer, started: float) -> bool:
    out_of_time = time.monotonic() - started >= run.seconds
    return out_of_time or trainer.shown >= trainer.recipe.pictures or run.stop.exists()


def _write(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
