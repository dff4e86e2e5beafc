"""The terminal's commands that need the engine's libraries.

They run `python -m engine VERB` as a child, whose output and exit status pass through. Knows its verbs; imports none.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from bot.options import Json

ENGINE = (sys.executable, "-m", "engine")

packs = typer.Typer(help="The generators at hand.", no_args_is_help=True)
bank = typer.Typer(help="What was drawn before anybody asked.", no_args_is_help=True)
Pack = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
OptionalPack = Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)]

BankPack = Annotated[str, typer.Option("--pack", metavar="NAME", help="Which generator.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(packs, name="packs")
    app.add_typer(bank, name="bank")
    app.command()(doctor)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
        evaluate
    )


def engine(*words: str, json: bool) -> int:
    """Run `python -m engine WORDS`; returns its exit status."""
    sys.stdout.flush()
    command = [*ENGINE, *words, *(["--json"] if json else [])]
    return subprocess.run(command, check=False).returncode


@packs.command("list")
def packs_list(json: Json = False) -> int:
    """List the packs."""
    return engine("packs", "list", json=json)


@packs.command("info")
def packs_info(pack: Pack, json: Json = False) -> int:
    """Show one pack: its labels, licence and sources."""
    return engine("packs", "info", pack, json=json)


@packs.command("pull")
def packs_pull(pack: Pack, json: Json = False) -> int:
    """Download a pack's weights, check them, and convert them where they are pickled."""
    return engine("packs", "pull", pack, json=json)


@packs.command("verify")
def packs_verify(pack: OptionalPack = None, json: Json = False) -> int:
    """Check the files of a pack, or of all that are here, against their digests."""
    return engine("packs", "verify", *([pack] if pack else []), json=json)


@packs.command("add")
def packs_add(file: Annotated[str, typer.Argument(metavar="FILE.toml", show_default=False)], json: Json = False) -> int:
    """Add a pack of your own, by its TOML."""
    return engine("packs", "add", file, json=json)


@bank.command("build")
def bank_build(
    size: Annotated[int, typer.Option("--size", metavar="N", help="Draws to keep; whole blocks of 256.")] = 8_192,
    pack: BankPack = "embedded",
    json: Json = False,
) -> int:
    """Compute a pack's bank up to a size; a stop loses at most the last block."""
    return engine("bank", "build", "--pack", pack, "--size", str(size), json=json)


@bank.command("info")
def bank_info(pack: BankPack = "embedded", json: Json = False) -> int:
    """Show how large a pack's bank is and where it lies."""
    return engine("bank", "info", "--pack", pack, json=json)


def doctor(json: Json = False) -> int:
    """Check the store, the settings, the engine and its device; exit status 1 if something is wrong."""
    from bot.doctor import examine

    well = examine(json=json)
    return engine("doctor", json=json) or (0 if well else 1)


def evaluate(words: typer.Context, json: Json = False) -> int:
    """Compare methods: prompts x seeds x ways, with tables and plots; `evaluate --help` names the options."""
    return engine("evaluate", *words.args, json=json)
