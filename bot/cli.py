"""`dreambot`: the terminal's entry. Knows the commands' names and options; what they do is imported when they run.

One policy for errors: a wrong request is one sentence on standard error and exit status 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bot import cli_admin, cli_cluster, cli_engine, cli_jobs, cli_people
from bot.options import As, Engine, Guild, Json

app = typer.Typer(
    name="dreambot",
    help="Turns a prompt into pictures, for a guild of people who share one engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli_jobs.register(app)
cli_people.register(app)
cli_engine.register(app)
app.add_typer(cli_admin.app, name="admin")
app.add_typer(cli_cluster.app, name="cluster")


@app.command()
def chat(name: As = None, guild: Guild = "local", engine: Engine = None) -> int:
    """A terminal where /dream and every other command work as on a platform."""
    from bot import session
    from bot.chat import chat as talk

    return session.run(talk, name=name, guild=guild, engine=engine)


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder that is not there yet.", show_default=False)],
    json: Json = False,
) -> int:
    """Copy the store and its pictures, while everything runs, and check the copy."""
    from bot.backup import backup as copy

    return copy(path, json=json)


@app.command()
def serve(engine: Engine = None) -> int:
    """Run the bot and the engine, and start each again when it dies."""
    from bot.serve import serve as supervise

    return supervise(engine)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        status = app(args=argv, prog_name="dreambot", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush at the end
        return 1
    except Exception as error:
        return _wrong(error)
    return int(status or 0)


def _wrong(error: Exception) -> int:
    """Say it in one sentence: the person's mistake is 2, ours is 1."""
    from bot.incident import sentence
    from bot.terminal import say
    from storage.errors import UserError

    if isinstance(error, typer.TyperException):
        what = error.format_message() if hasattr(error, "format_message") else str(error)
        if what:  # else the help was shown, for want of a command
            say(" ".join(what.split()).rstrip(".") + "; `dreambot --help` lists what there is.")
        return 2
    say(sentence(error))
    return 2 if isinstance(error, UserError) else 1


if __name__ == "__main__":
    sys.exit(main())
