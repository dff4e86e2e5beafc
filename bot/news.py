"""What the message of an unfinished job could say next: its place while it waits, its progress while it runs.

Knows the latest of each job and when its message was last written; a newer word replaces an older one that nobody has
seen. Knows no adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot import cards
from bot.cards import Card
from bot.line import standing
from storage.events import FINAL_KINDS, Event, Kind
from storage.job import Job, State
from storage.lookup import Turn


@dataclass(slots=True)
class Story:
    """One job's news."""

    events: list[Event] = field(default_factory=list)  # of progress: the first, the one before the last, the last
    turn: Turn | None = None
    place: str = ""  # as it was last told, or is to be told
    fresh: bool = False
    told_at: float = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How the line as a whole is doing."""

    engine: bool = True
    paused: bool = False
    speed: Mapping[str, float | None] = field(default_factory=dict)  # measured seconds a candidate, by pack


class News:
    """The news of every job that is not over."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._stories: dict[str, Story] = {}
        self._line = Condition()

    def note(self, event: Event) -> None:
        """Remember progress; forget what is over, or starts again."""
        if event.job is None:
            return
        if event.kind is Kind.PROGRESSED:
            story = self._stories.setdefault(event.job, Story())
            story.events = [*story.events[:1], *story.events[1:][-1:], event]
            story.fresh = True
        elif event.kind in FINAL_KINDS:
            self._stories.pop(event.job, None)
        elif event.kind is Kind.REQUEUED and event.job in self._stories:
            self._stories[event.job].events = []

    def place(self, turns: Sequence[Turn], line: Condition) -> None:
        """Remember where everybody who waits stands; it is news where the place is another one, or nobody works."""
        self._line = line
        for turn in turns:
            story = self._stories.setdefault(turn.job, Story())
            place = f"{turn.position} {line.engine} {line.paused}"
            told, story.turn, story.place = story.place, turn, place
            story.fresh |= bool(told) and told != place

    def due(self, now: float) -> list[str]:
        """The jobs whose message may be written again, whoever has waited the longest first."""
        fresh = [job for job, story in self._stories.items() if story.fresh and now - story.told_at >= self._every_s]
        return sorted(fresh, key=lambda job: self._stories[job].told_at)

    def tell(self, job: Job, now: float) -> Card | None:
        """The card for the job as it is now, and remember that it was told; None if there is nothing to say."""
        story = self._stories.get(job.id)
        if story is None:
            return None
        story.fresh, story.told_at = False, now
        if job.state is State.RUNNING and story.events:
            return cards.progress_card(job, story.events[-1], left(story.events))
        if job.state is State.QUEUED and story.turn is not None:
            placed = standing(job, story.turn.position, story.turn.before, self._line.speed)
            return cards.queued_card(placed, engine=self._line.engine, paused=self._line.paused)
        return None

    def forget(self, job: str) -> None:
        """Its message cannot be written."""
        self._stories.pop(job, None)


def left(events: Sequence[Event]) -> tuple[float, float] | None:
    """Seconds until the last step, from the steps measured so far: by the pace of all of them and of the latest."""
    last = events[-1]
    ahead = int(last.data.get("total") or 0) - int(last.data.get("done") or 0)
    paces = [pace for before in events[:-1] if (pace := _pace(before, last)) is not None]
    return (min(paces) * ahead, max(paces) * ahead) if paces and ahead > 0 else None


def _pace(before: Event, last: Event) -> float | None:
    """Seconds a step between two events; None where no step ended or the clock was set back."""
    steps = int(last.data.get("done") or 0) - int(before.data.get("done") or 0)
    return (last.at - before.at) / steps if steps > 0 and last.at > before.at else None
