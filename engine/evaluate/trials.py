"""What is tried: prompts x seeds x ways, each trial with a name of its own.

Knows the prompt lists and how a way becomes a job's parameters; runs nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import UserError
from storage.job import Caller, Job, Method, Params, Parity, State

HELD = Path(__file__).with_name("prompts.toml")
TUNING = Path(__file__).parents[1] / "training" / "prompts.toml"
LISTS = ("held", "pairs")  # in that file
PAPER_K = (1, 10, 20, 50, 100)  # of the search paper's tables, all labels beside them


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked for, and the label whose photographs show it (None: no photographs to compare with)."""

    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A method with its parameters, by the name that the tables show. `knobs` stand in place of the method's own."""

    name: str
    method: Method
    params: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One way on one prompt with one seed."""

    prompt: Prompt
    seed: int
    way: Way

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.way.name}|{self.seed}|{self.prompt.text}"

    def job(self, pack: str, candidates: int, keep: int = 1) -> Job:
        """The job that it is, unknown to any store."""
        asked: dict[str, Any] = {"candidates": candidates, "keep": min(keep, candidates)} | dict(self.way.params)
        params = Params(prompt=self.prompt.text, seed=self.seed, pack=pack, method=self.way.method, **asked)
        caller = Caller(user="evaluate", name="evaluate")
        return Job(id="trial", caller=caller, params=params, state=State.RUNNING, created_at=0.0)


def prompts(which: str) -> tuple[Prompt, ...]:
    """`held`, `pairs`, `tuning`, or a file: a TOML like prompts.toml, or text with a prompt a line. UserError else."""
    if which in LISTS:
        return _listed(HELD, which)
    if which == "tuning":
        return _listed(TUNING, "plain")
    path = Path(which)
    if not path.is_file():
        raise UserError(f"prompts is held, pairs, tuning, or a file with a prompt a line; {which!r} is not.")
    if path.suffix == ".toml":
        return _listed(path, "held")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(Prompt(line) for line in lines if line)


def _listed(path: Path, name: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(row["prompt"], row.get("label")) for row in tomllib.loads(path.read_text("utf-8"))[name])


def search_ways(labels: int, ks: Sequence[int] = PAPER_K) -> tuple[Way, ...]:
    """The published search, uniform over k labels: every k that this pack has labels for, a tenth of them, and all."""
    wanted = {k for k in (*ks, tenth(labels)) if k < labels}
    named = [(f"published search k={k}", k) for k in sorted(wanted)]
    named.append((f"published search k={labels} (all)", labels))
    return tuple(Way(name, Method.SEARCH, {"top_k": k, "parity": Parity.CSC2516}) for name, k in named)


def tenth(labels: int) -> int:
    """A tenth of the labels, at least one."""
    return max(1, round(labels / 10))


def plan(asked: Sequence[Prompt], seeds: int, ways: Sequence[Way]) -> tuple[Trial, ...]:
    """All trials, way after way, so that a broken run has whole ways."""
    return tuple(Trial(prompt, seed, way) for way in ways for prompt in asked for seed in range(seeds))
