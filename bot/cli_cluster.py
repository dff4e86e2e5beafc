"""The terminal's commands for engines on many hosts. What they do is imported when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from bot.options import Json

app = typer.Typer(help="Engines on many hosts, placed by Ray.", no_args_is_help=True)

Join = Annotated[str | None, typer.Option("--join", metavar="HOST:PORT", help="The head to join; else this is it.")]
Address = Annotated[str | None, typer.Option("--address", metavar="IP", help="This host, as the others reach it.")]
Port = Annotated[int, typer.Option("--port", metavar="N", help="The head's port.")]
Cores = Annotated[int | None, typer.Option("--cores", metavar="N", help="Of this host to share out; all by default.")]
Engines = Annotated[int, typer.Option("--engines", metavar="N", help="At least so many; 0: as many as fit.")]
Cpus = Annotated[int, typer.Option("--cpus", metavar="N", help="Cores of an engine, instead of a GPU.")]


@app.command()
def up(
    join: Join = None,
    address: Address = None,
    port: Port = 6379,
    cores: Cores = None,
    engines: Engines = 0,
    cpus: Cpus = 0,
) -> int:
    """Be the head, or join one, until told to end; the head keeps an engine on every GPU."""
    from bot.cluster import up as keep

    return keep(join=join, address=address, port=port, cores=cores, engines=engines, cpus=cpus)


@app.command()
def status(json: Json = False) -> int:
    """Show what runs here, and every engine with its jobs; exit status 1 while no engine runs."""
    from bot.cluster import status as tell

    return tell(json_=json)


@app.command()
def down() -> int:
    """End what `cluster up` started on this host, and nothing else."""
    from bot.cluster import down as end

    return end()
