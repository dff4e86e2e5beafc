"""The terminal's commands about pictures people like, and about oneself. Knows their options; the work is elsewhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bot.options import As, Guild, JobName, Json

Period = Annotated[str, typer.Option("--period", metavar="NAME", help="week, month or ever.")]
Default = Annotated[str | None, typer.Option(metavar="VALUE|none", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (history, gallery, leaderboard, vote, delete, settings, export):
        app.command()(command)
    app.command("forget-me")(forget)


def history(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show a person's own jobs, latest first."""
    from bot import session

    return session.answer(lambda s: s.commands.history(s.caller), name=name, guild=guild, json=json)


def gallery(
    of: Annotated[str, typer.Option("--of", metavar="me|guild|NAME", help="Whose pictures.")] = "me",
    period: Period = "ever",
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Show the best pictures of a person or of the guild, with their files."""
    from bot import in_person, session

    return session.run(lambda s: in_person.gallery(s, of, period), name=name, guild=guild, json=json)


def leaderboard(
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="score, votes or person.")] = "score",
    period: Period = "ever",
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Show the guild's best or most loved pictures, or its busiest dreamers."""
    from bot import session

    return session.answer(
        lambda s: s.commands.leaderboard(s.caller, by=by, period=period), name=name, guild=guild, json=json
    )


def vote(job: JobName, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Vote for a job's pictures, or take the vote back."""
    from bot import session

    return session.answer(lambda s: s.commands.vote(s.caller, job), name=name, guild=guild, json=json)


def delete(job: JobName, yes: Yes = False, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Delete a job's pictures for good."""
    from bot import session

    _ask(f"Delete the pictures of {job} for good?", yes)
    return session.answer(lambda s: s.commands.delete(s.caller, job), name=name, guild=guild, json=json)


def settings(
    method: Default = None,
    pack: Default = None,
    keep: Default = None,
    candidates: Default = None,
    steps: Default = None,
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Show or change what a dream of yours takes where an option is not given."""
    from bot import session

    given = {"method": method, "pack": pack, "keep": keep, "candidates": candidates, "steps": steps}
    return session.answer(lambda s: s.commands.personal.settings(s.caller, given), name=name, guild=guild, json=json)


def export(
    file: Annotated[str, typer.Argument(metavar="FILE.zip", show_default=False)],
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Write all of your jobs, recipes, scores and pictures into a new zip file."""
    from bot import session

    return session.answer(lambda s: s.commands.personal.export_to(s.caller, file), name=name, guild=guild, json=json)


def forget(yes: Yes = False, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Delete all that is known of you, and stop what waits or runs."""
    from bot import session

    _ask("Delete your dreams, pictures, votes, defaults and name for good?", yes)
    return session.answer(lambda s: s.commands.personal.forget(s.caller, sure=True), name=name, guild=guild, json=json)


def _ask(question: str, yes: bool) -> None:
    """UserError where nobody said yes and nobody is there to ask."""
    from storage.errors import UserError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("This cannot be undone, and nobody is here to ask; say --yes.")
    typer.confirm(question, abort=True, err=True)
