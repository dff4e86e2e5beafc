"""The options that several terminal commands share. Knows Typer only, so that `--help` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Act as this person; default: the system user.")]
Guild = Annotated[str, typer.Option("--guild", metavar="NAME", help="In this guild.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, nothing else.")]
Out = Annotated[str | None, typer.Option("--out", metavar="FILE.png", help="Also write the best picture here.")]
Image = Annotated[
    str | None, typer.Option("--image", metavar="FILE", help="A picture that is part of the target, beside the words.")
]
From = Annotated[
    str | None, typer.Option("--from", metavar="FILE", help="A picture to start from; the method is fusedream.")
]
Box = Annotated[
    str | None,
    typer.Option("--box", metavar="WHERE", help="Of compose: left, centre, right, bottom, or x,y,width,height."),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return once the job is stored; the reply goes to the mailbox.")
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name, as in k7f3q2.", show_default=False)]
# The program that is started where no engine is alive; for tests and for odd installations.
Engine = Annotated[str | None, typer.Option("--engine", metavar="COMMAND", hidden=True)]
