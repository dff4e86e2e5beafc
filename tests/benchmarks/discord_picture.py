"""What the cards look like on Discord: `python -m tests.benchmarks.discord_picture OUT.png`, embedded pack.

A few people use the bot; the peer's channel is rendered to HTML and photographed by a headless Chromium, which must be
on the path.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.discord.peer import BOB, EVE, Entry, Peer
from tests.fakes.discord.render_html import page
from tests.scenarios.discord_house import DiscordHouse, open_discord_house

NAMES = {BOB: "bob", EVE: "eve"}
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


async def act(discord: DiscordHouse) -> None:
    """A result, a re-rank, a queue, progress, a place, a refusal."""
    done = await discord.done(await discord.dream("a photo of a red sports car", candidates=400, keep=4, seed=11))
    await discord.answered(await discord.peer.command("dreams", "leaderboard"))
    await discord.answered(await discord.peer.press(done, "show", who={"user": EVE}))
    running = await discord.dream("a `lemon` for @everyone", candidates=10_000, who={"user": BOB})
    await discord.peer.shown(lambda m: m["id"] == running["id"] and bool(m["attachments"]))
    await discord.dream("a lighthouse at night", candidates=200, who={"user": EVE})
    await discord.answered(await discord.peer.command("dreams", "queue"))
    await discord.answered(await discord.peer.command("dream-admin", "pause", who={"user": EVE}))


def asked(entries: Sequence[Entry]) -> dict[str, str]:
    """What somebody did to get a message, by the message."""
    acts = {e["interaction"]: e for e in entries if e["what"] == "act"}
    found = {}
    for entry in entries:
        if entry["what"] == "message" and entry.get("by") in acts:
            one = acts[entry["by"]]
            how = one["act"]
            words = "pressed a button" if how["kind"] == "component" else _used(how)
            found[entry["id"]] = f"{NAMES.get(one['user'], 'ada')} {words}"
    return found


def _used(act: Entry) -> str:
    return f"used /{act['name']}" + (f" {act['verb']}" if act.get("verb") else "")


async def rendered(peer: Peer) -> str:
    """The channel as a page."""
    await peer.look()
    messages = (await peer.state())["messages"]
    files = {one["id"]: await peer.file(one["url"]) for message in messages for one in message["attachments"]}
    return page(messages, files, asked(peer.entries))


def photograph(source: Path, out: Path, height: int) -> None:
    """The page as a PNG."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium on the path.")
    with tempfile.TemporaryDirectory() as profile:
        size = f"--window-size=760,{height}"
        command = [chromium, *FLAGS, *QUIET, f"--user-data-dir={profile}", size, f"--screenshot={out}", source.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


async def run(folder: Path, out: Path) -> None:
    """Play, render, photograph, trim."""
    async with open_discord_house(folder / "home", folder, DREAMBOT_ROOM="1", DREAMBOT_CAP="1") as discord:
        await discord.start_bot()
        await discord.start_engine()
        await act(discord)
        source = folder / "page.html"
        source.write_text(await rendered(discord.peer), encoding="utf-8")
        print("schema problems and live mentions:", len(await discord.peer.problems()))
    shutil.copy(source, out.with_suffix(".html"))
    photograph(source, out, 3_200)
    _trim(out)


def _trim(out: Path) -> None:
    """Without the empty end of the page, in 128 colours."""
    from PIL import Image, ImageChops

    with Image.open(out) as image:
        whole = image.convert("RGB")
    ground = Image.new("RGB", whole.size, whole.getpixel((0, whole.height - 1)))
    box = ImageChops.difference(whole, ground).getbbox() or (0, 0, 1, 1)
    whole.crop((0, 0, whole.width, box[3] + 12)).quantize(128).save(out, optimize=True)


def main() -> None:
    """Write the picture."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "discord.png").resolve()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), out))
    print(out)


if __name__ == "__main__":
    main()
