"""The terminal's commands about jobs. Knows their options; the work is in `bot.in_person`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bot.options import As, Box, Engine, From, Guild, Image, JobName, Json, NoWait, Out


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (dream, compose, again, anew, vary, rerank, show, queue, cancel):
        app.command()(command)


def _number(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="N", help=text, show_default=False)


def dream(
    prompt: Annotated[str, typer.Argument(help="What to dream of: 1 to 3,000 characters.", show_default=False)],
    method: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="search, fusedream, compose, clipgen")
    ] = None,
    pack: Annotated[str | None, typer.Option("--pack", metavar="NAME", help="Which generator; embedded.")] = None,
    seed: Annotated[str | None, _number("--seed", "0 to 4294967295; drawn if missing, always shown.")] = None,
    candidates: Annotated[str | None, _number("--candidates", "1 to 10,000; 100.")] = None,
    top_k: Annotated[str | None, _number("--top-k", "1 to the pack's labels; 10, at most half of them.")] = None,
    steps: Annotated[str | None, _number("--steps", "1 to 2,000; 150.")] = None,
    keep: Annotated[str | None, _number("--keep", "1 to 16 pictures; 1.")] = None,
    parity: Annotated[str | None, typer.Option("--parity", metavar="NAME", help="csc2516, fusedream, clip-gen")] = None,
    image: Image = None,
    start: From = None,
    box: Box = None,
    no_bank: Annotated[bool, typer.Option("--no-bank", help="Draw afresh, as published.")] = False,
    out: Out = None,
    json: Json = False,
    no_wait: NoWait = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Dream one prompt, through the very same store and engine as a chat command."""
    from bot import in_person, session

    options = {
        "method": method,
        "pack": pack,
        "seed": seed,
        "candidates": candidates,
        "top-k": top_k,
        "steps": steps,
        "keep": keep,
        "parity": parity,
        "box": box,
    }
    return session.run(
        lambda s: in_person.dream(
            s, prompt, options, image=image, start=start, bank=not no_bank, out=out, wait=not no_wait
        ),
        name=name,
        guild=guild,
        json=json,
        engine=engine,
    )


def compose(
    front: Annotated[str, typer.Argument(help="What stands in front: a goldfish.", show_default=False)],
    behind: Annotated[str, typer.Argument(help="What is behind it: a mountain lake.", show_default=False)],
    box: Box = None,
    pack: Annotated[str | None, typer.Option("--pack", metavar="NAME", help="Which generator; embedded.")] = None,
    seed: Annotated[str | None, _number("--seed", "0 to 4294967295; drawn if missing, always shown.")] = None,
    candidates: Annotated[str | None, _number("--candidates", "1 to 10,000 of each; 100.")] = None,
    steps: Annotated[str | None, _number("--steps", "1 to 2,000; 150.")] = None,
    keep: Annotated[str | None, _number("--keep", "2: the nearest picture that the GAN draws whole, too; 1.")] = None,
    out: Out = None,
    json: Json = False,
    no_wait: NoWait = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Dream of one thing in front of another: `dream "FRONT | BEHIND" --method compose`."""
    return dream(
        f"{front} | {behind}",
        method="compose",
        box=box,
        pack=pack,
        seed=seed,
        candidates=candidates,
        steps=steps,
        keep=keep,
        out=out,
        json=json,
        no_wait=no_wait,
        name=name,
        guild=guild,
        engine=engine,
    )


def again(
    job: JobName,
    out: Out = None,
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Run a job's recipe once more and compare the pixels: exit status 0 only if they are identical."""
    from bot import in_person, session

    return session.run(lambda s: in_person.again(s, job, out=out), name=name, guild=guild, json=json, engine=engine)


def anew(
    job: JobName,
    prompt: Annotated[str | None, typer.Argument(help="Other words; default: the job's own.")] = None,
    seed: Annotated[str | None, _number("--seed", "0 to 4294967295; drawn if missing.")] = None,
    out: Out = None,
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Dream a job once more with a new seed, or with other words; all else as it was."""
    from bot import in_person, session

    return session.run(
        lambda s: in_person.anew(s, job, prompt, seed, out=out), name=name, guild=guild, json=json, engine=engine
    )


def vary(
    job: JobName,
    out: Out = None,
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Dream near a job's best picture: its words and that picture, and a new seed."""
    from bot import in_person, session

    return session.run(lambda s: in_person.vary(s, job, out=out), name=name, guild=guild, json=json, engine=engine)


def rerank(
    job: JobName,
    prompt: Annotated[str | None, typer.Argument(help="Other words; default: the job's own.")] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="clip, augclip or judge.")] = "clip",
    out: Out = None,
    json: Json = False,
    name: As = None,
    guild: Guild = "local",
    engine: Engine = None,
) -> int:
    """Re-order a job's stored candidates: a new job whose parent is JOB."""
    from bot import in_person, session

    return session.run(
        lambda s: in_person.rerank(s, job, prompt, by, out=out), name=name, guild=guild, json=json, engine=engine
    )


def show(job: JobName, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show a job: its pictures, or how it stands."""
    from bot import in_person, session

    return session.run(lambda s: in_person.show(s, job), name=name, guild=guild, json=json)


def queue(json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Show what runs and what waits, in the order of service."""
    from bot import in_person, session

    return session.run(in_person.queue, name=name, guild=guild, json=json)


def cancel(job: JobName, json: Json = False, name: As = None, guild: Guild = "local") -> int:
    """Stop a job; tells what was observed."""
    from bot import in_person, session

    return session.run(lambda s: in_person.cancel(s, job), name=name, guild=guild, json=json)
