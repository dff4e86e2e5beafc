"""What kill -9 costs a cluster of two nodes: `python -m tests.benchmarks.kills [--postgres] [--keep]`, which needs Ray.

200 real dreams of the embedded pack on two CPU engines; an engine, a worker of Ray's, a node, the controller and the
head are killed in turn, each after the last one's recovery. At the end every dream is completed, and none twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import tempfile
from pathlib import Path

from tests import postgres
from tests.benchmarks.common import keep, table
from tests.scenarios.cluster import FAKE, storm


def main() -> None:
    """Run it, print it, keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dreams", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--kills", default="engine,worker,node,controller,head")
    parser.add_argument("--fake", action="store_true", help="an engine without tensors")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL is the store")
    parser.add_argument("--keep", action="store_true", help="write the figures to results/")
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    environ = dict(FAKE) if told.fake else {}
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dreambot-", ignore_cleanup_errors=True)))
        if told.postgres:
            environ["DREAMBOT_STORE"] = stack.enter_context(postgres.serving()).store()
        figures = asyncio.run(storm(home / "home", told.dreams, told.candidates, told.kills.split(","), environ))
    store = "postgresql" if told.postgres else "sqlite"
    table(figures["kills"])
    print({name: value for name, value in figures.items() if name != "kills"})
    if told.keep:
        keep(f"kills-{store}", {"store": store, **figures})


if __name__ == "__main__":
    main()
