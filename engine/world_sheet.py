"""A pack's world in one picture: every label, one column a look, with its name. What `packs info` shows."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from engine.launches import Launch
from engine.ops import Pixels, Render
from engine.packs import Pack
from engine.runner import ModelRunner

SHOWN, TEXT, ACROSS, SEED = 4, 14, 3, 1


def world_sheet(pack: Pack, runner: ModelRunner) -> Image.Image:
    """Labels in three columns, four pictures each at their own size."""
    space = runner.space(pack.name)
    width, height = SHOWN * pack.resolution, pack.resolution + TEXT
    rows = -(-len(pack.labels) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for place, label in enumerate(pack.labels):
        x, y = place // rows * width, place % rows * height
        draw.text((x + 2, y + 1), label.name, fill="black")
        for look in range(SHOWN):
            latents = space.draw(SEED, [place], [look])
            pixels: Pixels = runner.run(Launch((Render(pack.name, latents),)))[0]
            sheet.paste(Image.fromarray(pixels[0]), (x + look * pack.resolution, y + TEXT))
    return sheet


def write_world_sheet(pack: Pack, runner: ModelRunner, folder: Path) -> Path:
    """The sheet as a PNG named by the pack's digest; drawn once."""
    path = folder / f"world-{pack.name}-{pack.digest[:12]}.png"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        world_sheet(pack, runner).save(draft, "PNG")
        draft.replace(path)
    return path
