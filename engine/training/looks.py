"""`python -m engine.training looks`: further looks of the shipped generator, for colours that its looks lack.

A look is a row of the class embedding. With everything else frozen, a new row is learned so that its pictures are of
the class, have the mean feature of the photographs in which the colour leads (feature matching: Salimans et al.,
arXiv 1606.03498, section 3.1), and show the colour in their middle. Which colours: those that a share of the class's
photographs have and the looks have not. No prompt is looked at. It does not train the generator's other weights.
"""

import argparse
import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.generators.embedded import EmbeddedGenerator, load
from engine.training.colours import COLOURS, colour_pixels, middle_colours
from engine.training.data import data_folder, tiny_imagenet, tiny_imagenet_indices
from engine.training.export import PACK, write
from engine.training.features import BACKGROUND, MobileNet
from engine.training.figures import SIDE, see
from engine.training.runs import autocast
from engine.training.watch import paint
from engine.training.world import load_world

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
SHADES = frozenset({"black", "gray"})  # shadow and haze as much as things; nobody's photographs lack them
FLOOR = 0.05  # of a feature's standard deviation


class Wanted(NamedTuple):
    """A look that is lacking."""

    label: int
    colour: str


@dataclass(frozen=True, slots=True)
class Goal:
    """What a look's pictures are to agree with: the class's place in the logits, a colour in RGB, a mean feature."""

    outputs: Tensor
    label: int
    rgb: Tensor  # [3] in [0, 1]
    mean: Tensor  # [1280]
    spread: Tensor  # [1280] standard deviation over all photographs of the class


def lacking(
    photographs: NDArray[np.float64], looks: NDArray[np.float64], least: float, lack: float, most: int
) -> list[Wanted]:
    """At most `most` colours a label, the most missed first: shares of photographs (labels, colours), and of each look.

    `looks` is (labels, looks, colours). A colour lacks where a label's looks show it in too few pictures, or where it
    leads in most pictures of none of them, so that nobody can ask for it.
    """
    found = []
    for label, (have, each) in enumerate(zip(photographs, looks, strict=True)):
        show, leads = each.mean(0), (each > 0.5).any(0)
        missed = [
            number
            for number in np.argsort(show - have, kind="stable")
            if COLOURS[number] not in SHADES and have[number] >= least
            if show[number] < lack * have[number] or not leads[number]
        ]
        found += [Wanted(label, COLOURS[number]) for number in missed[:most]]
    return found


def goal(pictures: NDArray[np.uint8], wanted: Wanted, outputs: Tensor, net: MobileNet) -> Goal:
    """From a class's photographs [n, 64, 64, 3]: those in which the colour leads, and of its pixels the vivid half."""
    led = pictures[middle_colours(pictures) == COLOURS.index(wanted.colour)]
    pixels = colour_pixels(led, wanted.colour)
    vivid = np.ptp(pixels, axis=1) * (-1 if wanted.colour == "white" else 1)
    rgb = torch.from_numpy(pixels[vivid >= np.median(vivid)].mean(0))
    all_of_them = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    leading = torch.from_numpy(led).permute(0, 3, 1, 2).contiguous()
    seen = see(net, torch.cat([leading, leading.flip(3)])).pooled
    return Goal(outputs, wanted.label, rgb, seen.mean(0), see(net, all_of_them).pooled.std(0) + FLOOR)


def learn(
    generator: EmbeddedGenerator, net: MobileNet, aim: Goal, rows: Tensor, plan: Mapping[str, Any], stage: str
) -> tuple[Tensor, Tensor]:
    """Adam on the rows [k, dim_y], all at once and apart; answers with the rows and their last losses [k]."""
    numbers, moved = plan[stage], torch.zeros_like(rows).requires_grad_(True)
    adam = torch.optim.Adam([moved], betas=(0.9, 0.95))
    source = torch.Generator().manual_seed(plan["seed"])
    losses = torch.zeros(len(rows))
    for step in range(numbers["steps"]):
        left = 1 - step / numbers["steps"]
        adam.param_groups[0]["lr"] = numbers["lr"] * min(1.0, left / 0.4)
        z = torch.randn(numbers["pictures"] * len(rows), generator.dim_z, generator=source)
        with autocast(net.device):
            drawn = generator(z, (rows + moved).repeat(numbers["pictures"], 1)).float() * 0.5 + 0.5
        losses = _losses(drawn, net, aim, plan, len(rows))
        losses = losses + plan["weights"]["near"] * moved.square().sum(1)
        adam.zero_grad()
        losses.sum().backward()
        adam.step()
    return (rows + moved).detach(), losses.detach()


def _losses(drawn: Tensor, net: MobileNet, aim: Goal, plan: Mapping[str, Any], rows: int) -> Tensor:
    """Pictures [n x rows, 3, s, s] in [0, 1], a row's at every `rows`-th place; one loss a row."""
    seen, weights = net(functional.interpolate(drawn, SIDE, mode="bilinear", align_corners=False)), plan["weights"]
    truth = torch.full((len(drawn),), aim.label)
    wrong = functional.cross_entropy(seen.logits[:, aim.outputs].float(), truth, reduction="none")
    features = seen.pooled.float().view(-1, rows, seen.pooled.shape[1]) / aim.spread
    apart = features.mean(0) - aim.mean / aim.spread
    chance = features.var(0) / len(features)  # what a mean of so few is off by chance
    losses: Tensor = (
        weights["label"] * wrong.view(-1, rows).mean(0)
        + weights["colour"] * _off_colour(drawn, aim.rgb, plan).view(-1, rows).mean(0)
        + weights["feature"] * (apart.square() - chance).mean(1)
    )
    return losses


def _off_colour(drawn: Tensor, rgb: Tensor, plan: Mapping[str, Any]) -> Tensor:
    """How far the nearest `share` of each picture's middle is from the colour, beyond `near_colour`."""
    side = drawn.shape[2]
    middle = drawn[:, :, side // 4 : side - side // 4, side // 4 : side - side // 4]
    apart = (middle - rgb[None, :, None, None]).square().sum(1).add(1e-8).sqrt().flatten(1)
    excess = functional.relu(apart - plan["near_colour"])
    return excess.topk(int(excess.shape[1] * plan["share"]), 1, largest=False).values.mean(1)


def widened(generator: EmbeddedGenerator, learned: Mapping[Wanted, Tensor], variants: int) -> EmbeddedGenerator:
    """The generator with `variants` looks a class: its own, the learned, and its last again where too few."""
    shape = generator.shape
    known = generator.embedding.weight.detach().view(len(shape.classes), shape.variants, -1)
    rows = []
    for label, own in enumerate(known):
        new = [row for wanted, row in learned.items() if wanted.label == label]
        rows += [*own, *new, *own.flip(0)][:variants]
    wider = EmbeddedGenerator(replace(shape, variants=variants))
    wider.load_state_dict(generator.state_dict() | {"embedding.weight": torch.stack(rows)})
    return wider


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Find what is lacking, learn one look after the other (a later start goes on), write the wider generator."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--out", type=Path, default=Path(".training/looks"))
    parser.add_argument("--from", dest="start", type=Path, default=PACK, help="the generator to widen")
    parser.add_argument("--to", type=Path, default=PACK, help="the file to write")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = tomllib.loads((HERE / "looks.toml").read_text())
    generator, net = load(chosen.start), MobileNet.load(data_folder(environ))
    if generator.shape.variants >= plan["variants"]:
        raise ValueError(f"The generator has {generator.shape.variants} looks a class already; --from names another.")
    learned = _learn_all(generator, net, data_folder(environ), chosen.out, plan)
    size, digest = write(widened(generator, learned, plan["variants"]), chosen.to)
    log.info("%s: %s bytes, sha256 %s", chosen.to.name, f"{size:,}", digest)
    return 0


def _learn_all(
    generator: EmbeddedGenerator, net: MobileNet, folder: Path, out: Path, plan: Mapping[str, Any]
) -> dict[Wanted, Tensor]:
    world, looks = load_world(), generator.shape.variants
    photographs = tiny_imagenet(folder, "train", [label.tiny for label in world])
    of = [photographs.pictures[photographs.labels == label.tiny] for label in world]
    outputs = torch.tensor([tiny_imagenet_indices(folder)[label.tiny] + BACKGROUND for label in world])
    kept = out / "rows.pt"
    known: dict[str, Tensor] = torch.load(kept, weights_only=True) if kept.is_file() else {}
    learned = {}
    for wanted in _missed(generator, of, plan):
        name = f"{world[wanted.label].name}: {wanted.colour}"
        if name in plan["refused"]:
            continue
        if name not in known:
            aim, own = goal(of[wanted.label], wanted, outputs, net), generator.embedding.weight.detach()
            rows, losses = learn(generator, net, aim, own.view(-1, looks, own.shape[1])[wanted.label], plan, "first")
            best = plan["begin"].get(name, int(losses.argmin()))
            row, last = learn(generator, net, aim, rows[best : best + 1], plan, "then")
            log.info("%s: from look %d, loss %.3f, then %.3f", name, best, float(losses[best]), float(last[0]))
            known[name] = row[0]
            out.mkdir(parents=True, exist_ok=True)
            torch.save(known, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
        learned[wanted] = known[name]
    return learned


def _missed(generator: EmbeddedGenerator, of: Sequence[NDArray[np.uint8]], plan: Mapping[str, Any]) -> list[Wanted]:
    looks, count = generator.shape.variants, plan["drawn"]
    drawn = paint(generator, torch.arange(generator.shape.rows).repeat_interleave(count), plan["seed"])
    pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    show = np.stack([_shares(of_a_look) for of_a_look in pixels.reshape(-1, count, *pixels.shape[1:])])
    have = np.stack([_shares(pictures) for pictures in of])
    return lacking(have, show.reshape(len(of), looks, -1), plan["least"], plan["lack"], plan["variants"] - looks)


def _shares(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    colours = middle_colours(pictures)
    return np.array([(colours == number).mean() for number in range(len(COLOURS))])
