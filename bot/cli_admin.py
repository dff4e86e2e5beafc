"""The terminal's admin commands. Knows their options; the work and the check of rights are in `bot.admin`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bot.options import As, Guild, JobName, Json

if TYPE_CHECKING:
    from bot.cards import Card
    from bot.session import Session

app = typer.Typer(help="Steer the queue and its people (admins only).", no_args_is_help=True)

Person = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
Surface = Annotated[str, typer.Option("--surface", metavar="NAME", help="Where this person is.")]


def _answer(work: Callable[[Session], Awaitable[Card]], name: str | None, guild: str, json: bool) -> int:
    from bot import session

    return session.answer(work, name=name, guild=guild, json=json)


@app.command()
def queue(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show who runs and who waits, in every guild."""
    return _answer(lambda s: s.admin.queue(s.caller), name, guild, json)


@app.command()
def pause(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Hand out no more jobs; what runs ends."""
    return _answer(lambda s: s.admin.pause(s.caller), name, guild, json)


@app.command()
def resume(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Hand out jobs again, after a pause or a drain."""
    return _answer(lambda s: s.admin.resume(s.caller), name, guild, json)


@app.command()
def drain(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Let every engine finish what runs, and leave."""
    return _answer(lambda s: s.admin.drain(s.caller), name, guild, json)


@app.command()
def ban(user: Person, surface: Surface = "local", json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Accept nothing more from a person."""
    return _answer(lambda s: s.admin.ban(s.caller, surface, user), name, guild, json)


@app.command()
def unban(user: Person, surface: Surface = "local", json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Accept a person's jobs again."""
    return _answer(lambda s: s.admin.unban(s.caller, surface, user), name, guild, json)


@app.command()
def limit(
    user: Annotated[str, typer.Argument(metavar="USER|role:NAME|guild:ID", show_default=False)],
    queued: Annotated[str, typer.Argument(metavar="N|KIND=N|none", show_default=False)],
    surface: Surface = "local",
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Set how many jobs of a person may wait; KIND is queued, running, seconds (of GPU time a day) or cooldown."""
    return _answer(lambda s: s.admin.limit(s.caller, surface, user, queued), name, guild, json)


@app.command()
def weight(
    who: Annotated[str, typer.Argument(metavar="USER|GUILD", show_default=False)],
    share: Annotated[str, typer.Argument(metavar="0.01..100", show_default=False)],
    of_guild: Annotated[bool, typer.Option("--of-guild", help="The first argument names a guild.")] = False,
    surface: Surface = "local",
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Set the share of a person or guild; 1 is everybody's."""
    return _answer(lambda s: s.admin.weight(s.caller, surface, who, share, of_guild=of_guild), name, guild, json)


@app.command()
def withhold(job: JobName, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show a result's pictures to nobody but moderators."""
    return _answer(lambda s: s.admin.withhold(s.caller, job), name, guild, json)


@app.command()
def release(job: JobName, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show a withheld result's pictures again."""
    return _answer(lambda s: s.admin.release(s.caller, job), name, guild, json)


@app.command()
def rescue(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Give the jobs of dead engines back to the queue."""
    return _answer(lambda s: s.admin.rescue(s.caller), name, guild, json)


@app.command()
def purge(
    days: Annotated[str, typer.Argument(metavar="DAYS", help="0 to 3650.")] = "7",
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
) -> int:
    """Forget the events of jobs that have been over for so long; jobs and pictures stay."""
    return _answer(lambda s: s.admin.purge(s.caller, days), name, guild, json)


@app.command()
def audit(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show what admins did, latest first."""
    return _answer(lambda s: s.admin.audit(s.caller), name, guild, json)


@app.command()
def stats(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show queue, engines and packs in numbers."""
    return _answer(lambda s: s.admin.stats(s.caller), name, guild, json)


@app.command("migrate-store")
def migrate_store(
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql+asyncpg://USER@HOST:PORT/DATABASE")],
    json: Json = False,
) -> int:
    """Move the SQLite store to PostgreSQL; compares every row and picture, and goes on where it was cut."""
    from bot.migrate import migrate

    return migrate(url, json=json)
