"""Cards: what each message says, before any surface draws it.

Knows jobs, ranks and scores, and how to put them in words. Does not know where a card is shown: prompts and names
stand in it as people wrote them, so whoever draws a card must neutralise their own markup. `rows` are the same facts
for a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from storage.events import Event
from storage.job import By, Image, Job, Method, Outcome, Reason, State, Withdrawn

if TYPE_CHECKING:
    from storage.votes import Poll

CUT = 200  # characters of a prompt in a title or a table
UNDER_A_RESULT = (
    ("New seed", "anew"),
    ("Vary", "vary"),
    ("Re-rank", "rerank"),
    ("Edit prompt", "edit"),
    ("Details", "show"),
    ("Vote", "vote"),
    ("Delete", "delete"),
)
RECIPE = 12  # hexadecimal digits of its digest that people see


class Tone(StrEnum):
    """What kind of message this is; a surface gives it a colour."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    WRONG = "wrong"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Field:
    """A named fact."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press. Its id names verb and job, so it works after any restart."""

    label: str
    verb: str
    job: str

    @property
    def id(self) -> str:
        """What the surface sends back: `v1:<verb>:<job>`."""
        return f"v1:{self.verb}:{self.job}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A surface-free picture of a message."""

    tone: Tone
    title: str
    text: str = ""
    fields: tuple[Field, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    images: tuple[str, ...] = ()  # digests of stored pictures, best first
    buttons: tuple[Button, ...] = ()
    job: str | None = None
    asker: str | None = None  # whose dream it is, by name; for surfaces whose messages do not show that themselves
    rows: tuple[Mapping[str, Any], ...] = ()  # one JSON object a row
    private: bool = False  # for the asker's eyes only, where the surface can do that
    file: str | None = None  # the path of a file that is handed over with the card (an export)
    spoiler: bool = False  # its pictures are covered until somebody asks to see them


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One line, or with `long` several, that a person fills in."""

    name: str
    label: str
    value: str = ""
    long: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is asked before something is done. Its id is a button's: `v1:<verb>:<job>`."""

    id: str
    title: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job and its place: 0 runs, 1 is next; the range is in seconds until it is done, None if nobody has measured."""

    job: Job
    position: int | None
    eta: tuple[float, float] | None = None
    engine: str | None = None  # the host and device that it runs on


def queued_card(standing: Standing, *, engine: bool, paused: bool) -> Card:
    """Accepted and durable: its place, and whether anybody works on it."""
    job = standing.job
    return Card(
        tone=Tone.WAITING,
        title=f"“{cut(job.params.prompt)}”",
        text=f"{place(standing, engine=engine, paused=paused)}.",
        fields=(Field("job", job.id), Field("seed", str(job.params.seed)), Field("method", _how(job))),
        buttons=(Button("Cancel", "cancel", job.id),),
        job=job.id,
        asker=job.caller.name,
    )


def place(standing: Standing, *, engine: bool = True, paused: bool = False) -> str:
    """Where a job stands, in a few words."""
    if standing.position == 0:
        return "running"
    if paused:
        return "queued; the queue is paused"
    if not engine:
        return "queued; the engine is not running"
    rank = f"queued, #{standing.position}" if standing.position else "queued"
    return rank if standing.eta is None else f"{rank}, done in {span(standing.eta)}"


def progress_card(job: Job, event: Event, left: tuple[float, float] | None = None) -> Card:
    """How far a running job is, with its best picture so far, and a range for the seconds that are left."""
    done, total = int(event.data.get("done") or 0), int(event.data.get("total") or 0)
    preview, score = event.data.get("preview"), event.data.get("score")
    return Card(
        tone=Tone.RUNNING,
        title=f"“{cut(job.params.prompt)}”",
        text=f"{done} of {total}" + ("" if score is None else f", best {score:.3f} by CLIP so far") + _left(job, left),
        fields=(Field("job", job.id), Field("method", _how(job))),
        images=(str(preview),) if preview else (),
        buttons=(Button("Cancel", "cancel", job.id),),
        job=job.id,
        asker=job.caller.name,
    )


def _left(job: Job, left: tuple[float, float] | None) -> str:
    if left is None:
        return ""
    if job.params.method is Method.FUSEDREAM:  # it stops on a plateau
        return f"; at most {span((left[1], left[1])).removeprefix('about ')} left"
    return f"; {span(left)} left"


def job_card(job: Job) -> Card:
    """A job that is over, or as it stands."""
    return withdrawn_card(job) if job.withdrawn is not None else replace(_ended_card(job), asker=job.caller.name)


def _ended_card(job: Job) -> Card:
    if job.state is State.COMPLETED:
        return result_card(job)
    if job.state is State.FAILED:
        return failed_card(job)
    if job.state is State.CANCELLED:
        text, tone = "Cancelled.", Tone.INFO
    else:
        text, tone = f"{job.state.value.capitalize()}.", Tone.WAITING
    fields = (Field("job", job.id), Field("seed", str(job.params.seed)), Field("method", _how(job)))
    return Card(tone=tone, title=f"“{cut(job.params.prompt)}”", text=text, fields=fields, job=job.id)


def result_card(job: Job) -> Card:
    """The pictures, and all that is needed to judge and to repeat them."""
    best = job.images[0] if job.images else None
    return Card(
        tone=Tone.DONE,
        title=f"“{cut(job.params.prompt)}”",
        text="\n".join(line for line in (verdict(job), job.note or "") if line),
        fields=tuple(Field(name, value) for name, value in _facts(job, best) if value),
        images=tuple(image.sha256 for image in job.images),
        buttons=tuple(Button(label, verb, job.id) for label, verb in UNDER_A_RESULT),
        job=job.id,
        spoiler=any(shown["action"] == "spoiler" for shown in (job.trace or {}).get("concepts", ())),
    )


def withdrawn_card(job: Job) -> Card:
    """What is left of a result that is not shown any more; its words are not told either."""
    words = {
        Withdrawn.DELETED: "These pictures were deleted.",
        Withdrawn.WITHHELD: "A moderator has withheld these pictures.",
        None: "",
    }
    return Card(tone=Tone.INFO, title="A dream", text=words[job.withdrawn], fields=(Field("job", job.id),), job=job.id)


def sure_card(job: Job) -> Card:
    """Asks before something is deleted for good."""
    return Card(
        tone=Tone.WRONG,
        title="Delete?",
        text=f"This deletes the pictures of {job.id} for good, here and in the store.",
        buttons=(Button("Delete", "erase", job.id),),
        job=job.id,
        private=True,
    )


def details_card(job: Job) -> Card:
    """A job that is over, with all that is known of how it was made."""
    card = job_card(job)
    if job.state is not State.COMPLETED or job.withdrawn is not None:
        return card
    asked, trace = job.params, job.trace or {}
    details = [
        ("candidates", str(asked.candidates)),
        ("top-k", "" if asked.top_k is None else str(asked.top_k)),
        ("steps", str(asked.steps) if asked.method is Method.FUSEDREAM else ""),
        ("votes", str(job.votes)),
        ("from", job.again_of or job.parent or ""),
        ("by", job.caller.name),
        ("drawn on", " ".join(str(trace[key]) for key in ("device", "dtype") if key in trace)),
        ("recipe", (job.recipe_digest or "")[:RECIPE]),
    ]
    return replace(card, asker=None, fields=(*card.fields, *(Field(name, value) for name, value in details if value)))


def _facts(job: Job, best: Image | None) -> list[tuple[str, str]]:
    seconds = None if job.finished_at is None else job.finished_at - job.created_at
    return [
        ("score", _scores(best) if best else ""),
        ("label", (best.label or "") if best else ""),
        ("seed", str(job.params.seed)),
        ("method", _how(job)),
        ("seconds", "" if seconds is None else f"{seconds:.1f}"),
        ("job", job.id),
    ]


def _scores(image: Image) -> str:
    measured = [
        (By.CLIP, image.clip_score),
        (By.AUGCLIP, image.augclip_score),
        (By.JUDGE, image.judge_score),
    ]
    return ", ".join(f"{by.value} {score:.3f}" for by, score in measured if score is not None)


def verdict(job: Job) -> str:
    """What an `again` found, in a sentence; empty for every other job."""
    if job.again_of is None:
        return ""
    if job.identical:
        return f"Identical to {job.again_of}, pixel for pixel."
    if job.identical is None or job.difference is None:
        return f"{job.again_of} left no pictures to compare with."
    found = job.difference
    share, most = found.get("pixels"), found.get("max")
    why = "; ".join(str(change) for change in found.get("changed") or ()) or "nothing else that we record"
    size = "" if share is None else f" in {share:.1%} of the pixels, by at most {most} of 255"
    return f"Differs from {job.again_of}{size}. Changed: {why}."


def failed_card(job: Job) -> Card:
    """Why there is no picture."""
    words = {
        Reason.CRASHED: "The engine died each time it tried this job alone.",
        Reason.ERROR: "Something broke while this was made.",
        Reason.UNSUPPORTED: "No engine here can make this.",
        None: "It failed.",
    }
    return Card(
        tone=Tone.WRONG,
        title=f"“{cut(job.params.prompt)}”",
        text=job.message or words[job.reason],
        fields=(Field("job", job.id), Field("reason", job.reason.value if job.reason else "unknown")),
        buttons=(Button("Again", "again", job.id),),
        job=job.id,
    )


def cancel_card(job_id: str, outcome: Outcome) -> Card:
    """What a cancel observed."""
    words = {
        Outcome.CANCELLED: f"{job_id} was waiting, and is cancelled now.",
        Outcome.STOPPING: f"{job_id} is running; it stops at its next step.",
        Outcome.FINISHED: f"{job_id} was over already.",
        Outcome.NOT_YOURS: f"{job_id} is somebody else's; only its owner or an admin can cancel it.",
        Outcome.UNKNOWN: f"There is no job {job_id!r}; `queue` and `history` list them.",
    }
    wrong = outcome in (Outcome.NOT_YOURS, Outcome.UNKNOWN)
    rows = ({"job": job_id, "outcome": outcome.value},)
    return Card(tone=Tone.WRONG if wrong else Tone.INFO, title="Cancel", text=words[outcome], job=job_id, rows=rows)


def vote_card(job_id: str, poll: Poll) -> Card:
    """What a vote led to."""
    text = f"Your vote for {job_id} counts" if poll.given else f"Your vote for {job_id} is taken back"
    votes = "1 vote" if poll.votes == 1 else f"{poll.votes} votes"
    row = {"job": job_id, "given": poll.given, "votes": poll.votes}
    return Card(tone=Tone.INFO, title="Vote", text=f"{text}; it has {votes}.", job=job_id, rows=(row,), private=True)


def notice(title: str, text: str, *, private: bool = False, **row: Any) -> Card:
    """Something was done."""
    return Card(tone=Tone.INFO, title=title, text=text, rows=(row,) if row else (), private=private)


def error_card(text: str) -> Card:
    """Something was wrong: with the request (a UserError's sentence) or with us."""
    return Card(tone=Tone.WRONG, title="That did not work", text=text, private=True)


def cut(text: str, limit: int = CUT) -> str:
    """The text on one line, at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def span(seconds: tuple[float, float]) -> str:
    """A range of seconds in words: never more exact than it is."""
    low, high = (_clock(max(1, round(second))) for second in seconds)
    return f"about {high}" if low == high else f"{low} to {high}"


def _clock(seconds: int) -> str:
    return f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _how(job: Job) -> str:
    by = f" by {job.params.by.value}" if job.params.method is Method.RERANK else ""
    return f"{job.params.method.value}{by}, {job.params.pack}"
