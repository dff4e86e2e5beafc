"""`gan.toml` as frozen objects: every number of a generator's training run.

It knows names and types. It does not know what any number does.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

GAN = Path(__file__).with_name("gan.toml")


@dataclass(frozen=True, slots=True)
class Phase:
    """The knobs from `start` pictures on."""

    start: int
    rate: float
    identity: float
    look: float
    diversity: float
    apart: float
    centre: float
    pixel: float
    translate: float
    cutout: float
    cutout_share: float
    colour: float
    colour_share: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file, flat."""

    seed: int
    variants: int
    dim_z: int
    dim_y: int
    widths: tuple[int, ...]
    look_dims: int
    look_rounds: int
    look_colour: float
    batch: int
    betas: tuple[float, float]
    decay_share: float
    decay_to: float
    half_life: int
    average_every: int
    checkpoint_seconds: float
    snapshot_seconds: float
    per_class: int
    pictures: int
    side: int
    critic_first: int
    phases: tuple[Phase, ...]

    def phase(self, shown: int) -> Phase:
        """The knobs that hold after this many pictures."""
        return [phase for phase in self.phases if phase.start <= shown][-1]

    def rate(self, shown: int) -> float:
        """The phase's rate, falling linearly at the end of the run."""
        left = (1 - shown / self.pictures) / self.decay_share
        return self.phase(shown).rate * max(self.decay_to, min(1.0, left))


def load_recipe(path: Path, device: str) -> Recipe:
    """Read the file; `device` chooses between its [cpu] and [cuda] batch."""
    table = tomllib.loads(path.read_text())
    phases = _phases(table["phases"], path.name)
    return Recipe(
        seed=table["seed"],
        variants=table["shape"]["variants"],
        dim_z=table["shape"]["dim_z"],
        dim_y=table["shape"]["dim_y"],
        widths=tuple(table["shape"]["widths"]),
        look_dims=table["looks"]["dims"],
        look_rounds=table["looks"]["rounds"],
        look_colour=table["looks"].get("colour", 0.0),
        batch=table[device]["batch"],
        betas=(table["adam"]["betas"][0], table["adam"]["betas"][1]),
        decay_share=table["adam"]["decay_share"],
        decay_to=table["adam"]["decay_to"],
        half_life=table["average"]["half_life"],
        average_every=table["average"]["every"],
        checkpoint_seconds=table["watch"]["checkpoint_seconds"],
        snapshot_seconds=table["watch"]["snapshot_seconds"],
        per_class=table["watch"]["per_class"],
        pictures=table["run"]["pictures"],
        side=table["run"]["side"],
        critic_first=table["run"].get("critic_first", 0),
        phases=phases,
    )


def _phases(rows: list[dict[str, float]], name: str) -> tuple[Phase, ...]:
    """Every phase keeps the knobs of the one before it, but for those it names."""
    knobs: dict[str, float] = {}
    phases = []
    for row in rows:
        knobs |= row
        chosen = {knob: value for knob, value in knobs.items() if knob != "from"}
        if {"start", *chosen} != set(Phase.__slots__):
            raise ValueError(
                f"{name}: the first of [[phases]] needs from and exactly {', '.join(Phase.__slots__[1:])}."
            )
        phases.append(Phase(start=int(row["from"]), **chosen))
    starts = [phase.start for phase in phases]
    if not phases or starts[0] != 0 or starts != sorted(starts):
        raise ValueError(f"{name}: [[phases]] must begin with from = 0 and rise.")
    return tuple(phases)
