"""`python -m engine.training clip-figures`: how good the shipped CLIPs are, and where the pack's world ends.

It knows the shipped weights (loaded as the runtime loads them), the held-out photographs and the fixed prompts. It
does not know the generator, and changes nothing.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.latents import LatentSpace
from engine.training.data import data_folder, flickr8k, tiny_imagenet, tiny_imagenet_names
from engine.training.measures import border, recalls, top_shares
from engine.training.teacher import LABELS, flickr_split
from engine.training.text import PACK, Clip, encode_pictures, encode_texts, open_trained
from engine.training.vocabulary import load_prompts
from engine.training.world import Label, load_world

TEMPLATES = ("{}", "a photo of a {}", "a picture of the {}", "a {}")  # the pack's: a word is their mean
PARTI = "PartiPrompts.tsv"


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a table, then one line of JSON."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(".training") / "cache")
    parser.add_argument("--pack", type=Path, default=PACK, help="the folder of the two CLIPs")
    parser.add_argument("--clips", nargs="+", default=["scorer", "judge"])
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    data = data_folder(environ)
    figures = {name: measure(open_trained(name, chosen.pack), data, chosen.cache) for name in chosen.clips}
    for row in next(iter(figures.values())):
        cells = "".join(f"{_short(found[row]):>14}" for found in figures.values())
        sys.stdout.write(f"{row:<34}{cells}\n")
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def measure(clip: Clip, data: Path, cache: Path) -> dict[str, Any]:
    """Every figure of one CLIP."""
    world, names = load_world(), tiny_imagenet_names(data)
    space = label_space(clip, world)
    return {
        **picture_figures(clip, world, names, data, cache),
        **caption_figures(clip, data, cache),
        **choice_figures(clip, space),
        **border_figures(clip, space, data),
    }


def label_space(clip: Clip, world: Sequence[Label]) -> LatentSpace:
    """The runtime's own rule of nearness: every name and synonym is the mean of the templates, the nearest counts."""
    words = [(number, word) for number, label in enumerate(world) for word in (label.name, *label.synonyms)]
    return LatentSpace(
        pack="embedded",
        digests={},
        labels=tuple(label.name for label in world),
        dim_z=1,
        class_embeddings=np.zeros((len(world), 1), np.float32),
        words=tuple(word for _, word in words),
        word_embeddings=torch.stack([_mean_vector(clip, word) for _, word in words]).numpy(),
        word_labels=np.array([number for number, _ in words], np.int64),
    )


def nearness(clip: Clip, space: LatentSpace, prompts: Sequence[str], named: bool = True) -> Tensor:
    """[prompts, labels] by the runtime's rule; without `named`, by cosine alone."""
    vectors = encode_texts(clip, prompts).numpy()
    rows = [space.similarities(text if named else "", vector) for text, vector in zip(prompts, vectors, strict=True)]
    return torch.from_numpy(np.stack(rows))


def picture_figures(
    clip: Clip, world: Sequence[Label], names: Sequence[str], data: Path, cache: Path
) -> dict[str, float]:
    """Tiny-ImageNet's validation photographs among the pack's labels and among all 200, by name alone."""
    shown = tiny_imagenet(data, "val", range(LABELS), cache)
    ours = {label.tiny: label.name for label in world}
    texts = torch.stack([_mean_vector(clip, ours.get(number, name)) for number, name in enumerate(names)])
    pictures, labels = encode_pictures(clip, torch.from_numpy(shown.pictures)), torch.from_numpy(shown.labels)
    pack = top_shares(pictures, labels, texts, [label.tiny for label in world])
    every = top_shares(pictures, labels, texts, range(LABELS))
    return {"pack top-1": pack[0], "pack top-5": pack[1], "200 labels top-1": every[0], "200 labels top-5": every[1]}


def caption_figures(clip: Clip, data: Path, cache: Path) -> dict[str, float]:
    """Flickr8k's held-out thousand: all their captions search among their pictures."""
    flickr = flickr8k(data, cache)
    rows = flickr_split(len(flickr.pictures))[1]
    pictures = encode_pictures(clip, torch.from_numpy(flickr.pictures[rows]))
    texts = [(place, text) for place, row in enumerate(rows) for text in flickr.captions[row]]
    captions = encode_texts(clip, [text for _, text in texts])
    found = recalls(pictures, captions, torch.tensor([place for place, _ in texts]))
    return {"caption R@1": found[0], "caption R@10": found[1], "caption median rank": found[2]}


def choice_figures(clip: Clip, space: LatentSpace) -> dict[str, Any]:
    """Which label the runtime would draw for the fixed prompts, and which the cosine alone would have it draw."""
    lists = load_prompts()
    figures: dict[str, Any] = {}
    for kind in ("plain", "free"):
        prompts = [row["prompt"] for row in lists[kind]]
        right = [row.get("labels") or [row["label"]] for row in lists[kind]]
        for rule, named in (("", True), (" by cosine", False)):
            order = nearness(clip, space, prompts, named).topk(3).indices.tolist()
            best = [[space.labels[place] for place in places] for places in order]
            pairs = list(zip(best, right, strict=True))
            figures[f"{kind} right of {len(prompts)}{rule}"] = sum(found[0] in true for found, true in pairs)
            figures[f"{kind} in first three{rule}"] = sum(bool(set(found) & set(true)) for found, true in pairs)
            missed = {
                prompt: found[0] for prompt, (found, true) in zip(prompts, pairs, strict=True) if found[0] not in true
            }
            figures[f"{kind} missed{rule}"] = missed
    return figures


def border_figures(clip: Clip, space: LatentSpace, data: Path) -> dict[str, float]:
    """The nearest label's similarity, for prompts inside the world and for PartiPrompts and the outside list."""
    lists = load_prompts()
    inside = [row["prompt"] for kind in ("plain", "free", "colour") for row in lists[kind]]
    ours = {word.lower() for word in space.words}
    with (data / PARTI).open(encoding="utf-8", newline="") as stream:
        parti = [row["Prompt"] for row in csv.DictReader(stream, delimiter="\t")]
    far = [text for text in parti if not any(f" {word} " in f" {text.lower().rstrip('.')} " for word in ours)]
    nearest = [nearness(clip, space, texts).amax(1) for texts in (inside, far, lists["outside"])]
    threshold, refused, let_in = border(nearest[0], nearest[1])
    free = nearness(clip, space, [row["prompt"] for row in lists["free"]]).amax(1)
    return {
        "outside below": threshold,
        "inside refused": refused,
        "free refused": float((free < threshold).float().mean()),
        "PartiPrompts let in": let_in,
        "outside list let in": float((nearest[2] >= threshold).float().mean()),
        "PartiPrompts used": len(far),
    }


def _mean_vector(clip: Clip, word: str) -> Tensor:
    return functional.normalize(encode_texts(clip, [text.format(word) for text in TEMPLATES]).mean(0), dim=0)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{len(value)} prompts"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
