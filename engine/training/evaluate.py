"""`python -m engine.training evaluate`: figures of the shipped weights, as a table and as one line of JSON.

It knows the parts that measure and their order. It measures nothing itself. A part offers
`measure(folder, cache, sheets) -> list[Figure]`; one whose module or weights are not there is said to be missing.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from engine.training.data import data_folder
from engine.training.table import Figure, as_json, as_table

PARTS = {
    "generator": "engine.training.evaluate_gan",
    "clip": "engine.training.evaluate_clips",
    "pack": "engine.training.evaluate_pack",
}


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Measure every part asked for; the exit status is 1 when a figure misses its bar."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part instead of all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(".training/cache"), help="decoded photographs")
    parser.add_argument("--sheets", type=Path, default=Path(".training/sheets"), help="where pictures are written")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    folder = data_folder(environ)
    figures: list[Figure] = []
    for name, module in PARTS.items():
        if chosen.only not in {None, name}:
            continue
        if importlib.util.find_spec(module) is None:
            sys.stderr.write(f"{name}: {module} is not there, skipped.\n")
            continue
        figures += importlib.import_module(module).measure(folder, chosen.cache, chosen.sheets)
    sys.stdout.write(f"{as_table(figures)}\n{as_json(figures)}\n")
    return 0 if all(figure.passes for figure in figures) else 1
