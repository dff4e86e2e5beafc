"""`python -m engine.training export`: a run's moving average, folded and in fp16, becomes the pack's generator.

It knows the run's files and the pack's file. It does not train and does not judge.
"""

import argparse
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from engine.generators.embedded import EmbeddedGenerator, Shape
from engine.training import gan, recipe
from engine.training.world import load_world

PACK = Path(__file__).parents[1] / "packs" / "embedded" / "generator.safetensors"
LIMIT = 20_000_000  # bytes
BATCHES, SIZE, SEED = 32, 64, 11  # of the statistics that are folded


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Fold, write, say size and digest."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--run", type=Path, default=Path(".training/gan"), help="the run's folder")
    parser.add_argument("--snapshot", type=Path, help="a kept moving average instead of the checkpoint's")
    parser.add_argument("--recipe", type=Path, default=recipe.GAN, help="the run's numbers")
    parser.add_argument("--to", type=Path, default=PACK, help="the file to write")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    source = chosen.snapshot or chosen.run / "checkpoint.pt"
    generator = averaged(source, chosen.recipe)
    size, digest = write(generator, chosen.to)
    report = f"{chosen.to.name}: {size:,} bytes, {generator.shape.rows} rows, sha256 {digest}"
    os.write(1, f"{report}\n".encode())
    return 0


def averaged(source: Path, toml: Path) -> EmbeddedGenerator:
    """The folded moving average of a checkpoint or a snapshot."""
    numbers = recipe.load_recipe(toml, "cpu")
    names = tuple(label.name for label in load_world())
    trained = gan.new_generator(Shape(names, numbers.variants, numbers.dim_z, numbers.dim_y, numbers.widths))
    trained.load_state_dict(torch.load(source, weights_only=True, map_location="cpu")["slow"])
    return gan.fold(trained, BATCHES, SIZE, SEED)


def write(generator: EmbeddedGenerator, path: Path) -> tuple[int, str]:
    """fp16 weights with the shape in the header, by way of a part file; answers size and sha256."""
    weights = {key: value.detach().half().contiguous() for key, value in generator.state_dict().items()}
    encoded = save(weights, metadata=generator.shape.to_metadata())
    if len(encoded) > LIMIT:
        raise ValueError(f"The generator takes {len(encoded):,} bytes; the pack allows {LIMIT:,}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(encoded)
    part.replace(path)
    return len(encoded), hashlib.sha256(encoded).hexdigest()
