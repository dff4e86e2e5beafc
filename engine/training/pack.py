"""`python -m engine.training pack`: write the embedded pack's TOML from the world and the exported weights.

It knows which files make the pack, encodes its words, and takes digests and sizes; it trains and measures nothing.
What only a measurement knows, the border of the world, is handed in, or kept from the TOML that is there.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from engine import packs
from engine.clip import Clip
from engine.generators.embedded import EmbeddedGenerator, Shape, load
from engine.training.colours import COLOURS, middle_colours
from engine.training.evaluate_clip import TEMPLATES
from engine.training.watch import paint
from engine.training.world import load_world
from engine.weights import sha256_of
from engine.words import embed_words, words_of, write_words

WORDS = "words.safetensors"
TITLE = "26 things, 64x64, trained on real photographs; needs nothing but this repository"
LICENCE = "MIT code; weights for research use, see NOTICE (Tiny-ImageNet, Flickr8k)"
LIMIT = 40_000_000  # bytes of the whole pack
DRAWN, SEED = 16, 13  # pictures that show which colour leads in a look


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the TOML, read it back as the engine will, and say how large the pack is."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument(
        "--outside-below", type=float, help="label similarity under which a prompt is out of this world"
    )
    parser.add_argument("--folder", type=Path, default=packs.HERE)
    chosen = parser.parse_args(argv)
    path = chosen.folder / "embedded.toml"
    border = chosen.outside_below if chosen.outside_below is not None else _known_border(path)
    looks = look_colours(load(chosen.folder / "embedded" / "generator.safetensors"))
    path.write_text(write(chosen.folder / "embedded", border, looks), encoding="utf-8")
    words = chosen.folder / "embedded" / WORDS
    _write_words(packs.read_pack(path), words)
    path.write_text(write(chosen.folder / "embedded", border, looks, words), encoding="utf-8")
    pack = packs.read_pack(path)
    pack.verify()
    size = sum(file.stat().st_size for file in (chosen.folder / "embedded").iterdir())
    sys.stdout.write(f"{path.name}: {len(pack.labels)} labels, {size / 1e6:.1f} MB, digest {pack.digest}\n")
    if size > LIMIT:
        raise ValueError(f"The pack has {size} bytes; at most {LIMIT} are allowed.")
    return 0


def look_colours(generator: EmbeddedGenerator) -> list[str]:
    """Of every class (label x variants + variant) the colour that leads in most of its pictures' middles, or ""."""
    rows = generator.shape.rows
    drawn = paint(generator, torch.arange(rows).repeat_interleave(DRAWN), SEED)
    pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    led = middle_colours(pixels).reshape(rows, DRAWN)
    counts = np.stack([(led == number).sum(1) for number in range(len(COLOURS))], 1)
    return [
        COLOURS[best] if 2 * most > DRAWN else "" for best, most in zip(counts.argmax(1), counts.max(1), strict=True)
    ]


def _write_words(pack: packs.Pack, path: Path) -> None:
    """The labels' words as the scorer sees them, so that no engine has to encode them at its start."""
    clip = Clip(pack.scorer, torch.device("cpu"), torch.float32)
    write_words(pack, embed_words(clip, pack.templates, words_of(pack)), path)


def write(folder: Path, outside_below: float | None, looks: Sequence[str], words: Path | None = None) -> str:
    """The TOML's text for the weights in `folder`, and for the words where they have been written."""
    generator = folder / "generator.safetensors"
    with safe_open(generator, framework="pt") as file:
        shape = Shape.from_metadata(file.metadata())
    lines = [
        "# Written by `python -m engine.training pack`; the words come from engine/training/world.toml.",
        'name = "embedded"',
        f"title = {json.dumps(TITLE)}",
        f"licence = {json.dumps(LICENCE)}",
        'architecture = "embedded"',
        f"resolution = {shape.resolution}",
        f"variants = {shape.variants}",
        f"templates = {json.dumps(list(TEMPLATES))}",
        *([f"outside_below = {outside_below}"] if outside_below is not None else []),
        *_file("generator", generator),
        *(_file("words", words) if words else []),
    ]
    for tower in ("scorer", "judge"):
        config, merges = f'config = "embedded/{tower}.json"', 'merges = "embedded/merges.txt.gz"'
        lines += [*_file(tower, folder / f"{tower}.safetensors"), config, merges]
    if (folder / "gpt.safetensors").is_file():
        lines += _pair(folder)
    for number, label in enumerate(load_world()):
        lines += [
            "",
            "[[labels]]",
            f"name = {json.dumps(label.name)}",
            f"synonyms = {json.dumps(list(label.synonyms))}",
            f"looks = {json.dumps(list(looks)[number * shape.variants : (number + 1) * shape.variants])}",
        ]
    return "\n".join(lines) + "\n"


def _file(table: str, path: Path) -> list[str]:
    where = f"{path.parent.name}/{path.name}"
    return ["", f"[{table}]", f'file = "{where}"', f'sha256 = "{sha256_of(path)}"', f"size = {path.stat().st_size}"]


def _pair(folder: Path) -> list[str]:
    """CLIP-GEN's two networks, where they are shipped; the GPT's own header says how tokens are drawn from it."""
    with safe_open(folder / "gpt.safetensors", framework="pt") as file:
        drawing = json.loads(file.metadata()["drawing"])
    keys = [f"{name} = {json.dumps(value)}" for name, value in drawing.items()]
    return [*_file("vqgan", folder / "vqgan.safetensors"), *_file("gpt", folder / "gpt.safetensors"), *keys]


def _known_border(path: Path) -> float | None:
    return tomllib.loads(path.read_text(encoding="utf-8")).get("outside_below") if path.is_file() else None
