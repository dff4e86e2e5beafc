"""A tiny untrained pack for tests: real architectures, real files, random weights. Never offered to people."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from engine.generators import gpt, vqgan
from engine.generators.embedded import EmbeddedGenerator, Shape
from engine.weights import sha256_of, text_tower_digest

LABELS = ("lemon", "barn", "lion", "goldfish", "teapot")
VARIANTS = 2
CODES = vqgan.Shape(40, 8, 8, (1, 2), 1, (), 64, groups=4, patch=8)  # 4 x 4 tokens
SIZE = gpt.Size(codes=40, length=16, condition=32, width=16, hidden=32, depth=2, heads=2)
MERGES = "#version: tiny\nt h\nth e</w>"
CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 516, "width": 32, "heads": 2, "layers": 1},
}


def make_tiny_pack(folder: Path, name: str = "tiny") -> Path:
    """Write the pack into `folder` and return its TOML. The same weights every time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-merges.txt.gz").write_bytes(gzip.compress(MERGES.encode(), mtime=0))
    generator = _generator(folder / f"{name}-generator.safetensors")
    clips = {tower: _clip(folder, f"{name}-{tower}", seed) for tower, seed in (("scorer", 1), ("judge", 2))}
    toml = folder / f"{name}.toml"
    toml.write_text(_toml(name, generator, clips) + "\n".join(_pair(folder, name, clips["scorer"])) + "\n")
    return toml


def _pair(folder: Path, name: str, scorer: Path) -> list[str]:
    """The VQGAN and the GPT of `clipgen`, with guidance, as they stand in the TOML."""
    torch.manual_seed(3)
    codes, tokens = vqgan.VQGAN(CODES), gpt.GPT(SIZE)
    torch.nn.init.normal_(tokens.cond_proj.weight, std=3.0)
    paths = folder / f"{name}-vqgan.safetensors", folder / f"{name}-gpt.safetensors"
    save_file(codes.state_dict(), paths[0], CODES.to_metadata())
    save_file(tokens.state_dict(), paths[1])
    choice = ["heads = 2", "guidance = 2.0", f'condition = "{text_tower_digest(scorer)}"']
    return [*_file("vqgan", paths[0]), *_file("gpt", paths[1]), *choice]


def _generator(path: Path) -> Path:
    torch.manual_seed(0)
    shape = Shape(classes=LABELS, variants=VARIANTS, dim_z=16, dim_y=8, widths=(16, 16, 8, 8, 8))
    network = EmbeddedGenerator(shape)
    torch.nn.init.normal_(network.rgb_last.weight, std=0.3)
    torch.nn.init.normal_(network.rgb_before.weight, std=0.3)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, shape.to_metadata())
    return path


def _clip(folder: Path, name: str, seed: int) -> Path:
    (folder / f"{name}.json").write_text(json.dumps(CLIP))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CLIP)
    path = folder / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return path


def _toml(name: str, generator: Path, clips: dict[str, Path]) -> str:
    lines = [
        f'name = "{name}"',
        'title = "untrained, for tests"',
        'licence = "MIT"',
        'architecture = "embedded"',
        "resolution = 64",
        f"variants = {VARIANTS}",
        'templates = ["a photo of a {}"]',
        "offered = false",
        *_file("generator", generator),
    ]
    for tower, weights in clips.items():
        lines += [
            *_file(tower, weights),
            f'config = "{weights.stem}.json"',
            f'merges = "{name}-merges.txt.gz"',
        ]
    for label in LABELS:
        lines += ["[[labels]]", f'name = "{label}"', f'synonyms = ["{label} thing"]']
    return "\n".join(lines) + "\n"


def _file(table: str, path: Path) -> list[str]:
    return [
        f"[{table}]",
        f'file = "{path.name}"',
        f'sha256 = "{sha256_of(path)}"',
        f"size = {path.stat().st_size}",
    ]
