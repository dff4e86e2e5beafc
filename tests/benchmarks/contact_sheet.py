"""Prompts in one sheet: `python -m tests.benchmarks.contact_sheet [twelve|all]`, best of 100 each, embedded pack.

Every picture goes the whole way, through a store, the queue and an engine process of its own; then it is enlarged and
laid out with its prompt, label and score. Writes results/contact-sheet-NAME.png and .json, to be looked at.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from storage.job import Job
from tests.readme_map import ROOT
from tests.scenarios.house import open_house

RESULTS = Path(__file__).with_name("results")
PROMPTS = ROOT / "engine" / "training" / "prompts.toml"
TWELVE = (0, 5, 7, 11, 12, 14, 16, 17, 18, 19, 20, 21)  # of the plain ones
SIDE, TEXT, ACROSS = 128, 40, 6
SEED = 7


def prompts(name: str) -> list[str]:
    """The prompts of a sheet, in order: twelve plain ones, or 24 plain, 12 with colours and 12 outside the world."""
    lists = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))
    plain = [row["prompt"] for row in lists["plain"]]
    if name == "twelve":
        return [plain[i] for i in TWELVE]
    return plain + [row["prompt"] for row in lists["colour"]] + list(lists["outside"])


async def dream(texts: list[str], home: Path) -> tuple[list[Job], list[Image.Image]]:
    """One search a prompt, by an engine of this sheet's own."""
    async with open_house(home, home / "no-packs") as house:
        house.start_engine()
        jobs = [
            await house.submit("sheet", text, pack="embedded", seed=SEED, candidates=100, reply_to=None)
            for text in texts
        ]
        done = await house.finished(jobs)
        return done, [Image.open(house.images.path(job.images[0].sha256)).convert("RGB") for job in done]


def lay_out(jobs: list[Job], pictures: list[Image.Image]) -> Image.Image:
    """The sheet."""
    rows = -(-len(jobs) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * SIDE, rows * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (job, picture) in enumerate(zip(jobs, pictures, strict=True)):
        x, y = place % ACROSS * SIDE, place // ACROSS * (SIDE + TEXT)
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
        best = job.images[0]
        lines = [job.params.prompt[:21], job.params.prompt[21:42], f"{best.label} {best.clip_score:.2f}"]
        colour = "darkred" if job.note else "black"
        draw.multiline_text((x + 2, y + SIDE), "\n".join(lines), fill=colour, spacing=1)
    return sheet


def row(job: Job) -> dict[str, Any]:
    """What is known of one picture."""
    best = job.images[0]
    return {
        "prompt": job.params.prompt,
        "label": best.label,
        "clip_score": best.clip_score,
        "judge_score": best.judge_score,
        "candidate": best.candidate,
        "note": job.note,
    }


def main() -> None:
    """Make the sheet that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "twelve"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "no-packs").mkdir()
        jobs, pictures = asyncio.run(dream(prompts(name), Path(folder)))
    RESULTS.mkdir(exist_ok=True)
    lay_out(jobs, pictures).save(RESULTS / f"contact-sheet-{name}.png", optimize=True)
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = {
        "revision": revision.stdout.strip(),
        "recipe_of_first": jobs[0].recipe,
        "pictures": [row(job) for job in jobs],
    }
    (RESULTS / f"contact-sheet-{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for job in jobs:
        print(f"{job.params.prompt:<40} {job.images[0].label:<20} {job.images[0].clip_score:.3f}  {job.note or ''}")


if __name__ == "__main__":
    main()
