"""The real engine with one method poisoned: a prompt with the word "poison" ends the process in its second step.

Stands in for whatever makes a real engine die under one job: a driver's fault, an out-of-memory kill.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from engine import methods
from engine.__main__ import main
from engine.latents import LatentSpace
from engine.methods import Found, Past, Way
from engine.ops import Ask
from storage.job import Job, Method

healthy: Way = methods.METHODS[Method.SEARCH]


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """The healthy method; a poisoned prompt lets one op pass and then takes the process down."""
    method = healthy.run(job, space, past)
    reply = None
    while True:
        try:
            asked = method.send(reply)
        except StopIteration as end:
            found: Found = end.value
            return found
        reply = yield asked
        if "poison" in job.params.prompt:
            os._exit(9)


if __name__ == "__main__":
    methods.METHODS[Method.SEARCH] = replace(healthy, run=run)  # type: ignore[index]
    sys.exit(main())
