"""A job: one accepted request and its life. The vocabulary that bot and engine share.

Knows what may be asked for, in which ranges, and which state follows which; nothing of databases, chat or tensors.

          submit            claim               complete
    (new) ──────► queued ──────────► running ──────────► completed
                   │  ▲                │ │
            cancel │  │ rescue, drain  │ └─── fail ────► failed (reason)
                   │  └────────────────┘
                   ▼                   cancel
               cancelled ◄─────────────┘
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from storage.errors import UserError
from storage.prompt import Part, parse

Choice = TypeVar("Choice", bound=StrEnum)


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"  # accepted and durable; waits for its turn
    RUNNING = "running"  # claimed by one engine, which beats for it
    COMPLETED = "completed"  # its pictures are stored and its reply is in the outbox
    FAILED = "failed"  # ended without pictures; `reason` says why; can be asked for again
    CANCELLED = "cancelled"  # ended because its owner or an admin said so


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.QUEUED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}
FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)


class Reason(StrEnum):
    """Why a job failed."""

    CRASHED = "crashed"  # the engine died with this job alone in its batch, `max_strikes` times
    ERROR = "error"  # the method raised; the log has it under the job's id
    UNSUPPORTED = "unsupported"  # no engine here can do what was asked (a pack that is gone, say)


class Withdrawn(StrEnum):
    """Why a finished job's pictures are not shown any more."""

    DELETED = "deleted"  # by its owner or a moderator; the pictures are gone
    WITHHELD = "withheld"  # by a moderator; the pictures wait for a release


class Method(StrEnum):
    """A way to make a picture."""

    SEARCH = "search"  # draw candidates of a GAN, rank them by CLIP
    FUSEDREAM = "fusedream"  # mix the best candidates' latents and climb AugCLIP
    CLIPGEN = "clipgen"  # draw candidates token by token from the prompt's CLIP embedding, rank them by CLIP
    COMPOSE = "compose"  # one thing pasted into a picture of another, so that both cohere
    RERANK = "rerank"  # re-order the stored candidates of an earlier job


DREAM_METHODS = (
    Method.SEARCH,
    Method.FUSEDREAM,
    Method.COMPOSE,
    Method.CLIPGEN,
)  # what `dream` accepts; rerank has its own command


class Parity(StrEnum):
    """A published program whose choices are repeated to the letter, where better ones are the default."""

    CSC2516 = "csc2516"  # of search: github.com/CapFreddy/CSC2516-Course-Project
    FUSEDREAM = "fusedream"  # of fusedream: github.com/gnobitab/FuseDream
    CLIP_GEN = "clip-gen"  # of clipgen: github.com/HFAiLab/clip-gen


PARITY_METHOD: Mapping[Parity, Method] = {
    Parity.CSC2516: Method.SEARCH,
    Parity.FUSEDREAM: Method.FUSEDREAM,
    Parity.CLIP_GEN: Method.CLIPGEN,
}


class By(StrEnum):
    """What candidates are ranked by."""

    CLIP = "clip"  # cosine of the scorer
    AUGCLIP = "augclip"  # its mean over augmented views
    JUDGE = "judge"  # cosine of a second CLIP that nothing is optimised against


class Outcome(StrEnum):
    """What a cancel observed."""

    CANCELLED = "cancelled"  # it was waiting, and is cancelled now
    STOPPING = "stopping"  # it is running; the engine stops it at the next step
    FINISHED = "finished"  # it was over already
    NOT_YOURS = "not_yours"  # somebody else's job
    UNKNOWN = "unknown"  # no such job


DIRECT = "direct"  # the guild of every direct message: one share of the engine, and nobody sees the others' jobs
MAX_PROMPT = 3_000
LEAST_SIDE = 0.1  # of a box
BOX_WORDS = (
    "box is the centre x, centre y, width and height of a box within the picture, from 0 to 1, no side below 0.1,"
    " as in 0.3,0.6,0.5,0.5."
)
HANDED_IN = ("image", "start")  # params that are digests of pictures that people handed in
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_SEED = 2**32 - 1
RANGES: Mapping[str, tuple[int, int]] = {
    "seed": (0, MAX_SEED),
    "candidates": (1, 10_000),
    "top_k": (1, 100_000),  # the engine narrows it to the pack's labels
    "steps": (1, 2_000),
    "keep": (1, 16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What was asked for. A wrong value raises UserError where the object is made.

    `top_k` is None for the default: 10, at most half the pack's labels. `by` and nothing but `prompt`, `keep` matter to
    a rerank. No more than `candidates` pictures can be kept. `seed` is always known: whoever makes Params draws one
    where the person gave none. `image` is the digest of a stored picture that is part of the target, beside the words;
    `start` is that of one from which fusedream's climb begins.
    `box` is where compose puts the first thing: centre x, centre y, width, height in unit coordinates; None: free.
    """

    prompt: str
    seed: int
    method: Method = Method.SEARCH
    pack: str = "embedded"
    candidates: int = 100
    top_k: int | None = None
    steps: int = 150
    keep: int = 1
    by: By = By.CLIP
    parity: Parity | None = None
    image: str | None = None
    start: str | None = None
    box: tuple[float, ...] | None = None
    bank: bool = True  # candidates may come from the pack's bank; False: draws of the seed's own, as published

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", check_prompt(self.prompt))
        object.__setattr__(self, "method", choice("method", self.method, Method))
        object.__setattr__(self, "by", choice("by", self.by, By))
        if self.parity is not None:
            object.__setattr__(self, "parity", choice("parity", self.parity, Parity))
            if self.method is not PARITY_METHOD[self.parity]:
                wanted = PARITY_METHOD[self.parity]
                raise UserError(f"parity {self.parity} belongs to the method {wanted}; this one is {self.method}.")
        for name in HANDED_IN:
            digest = getattr(self, name)
            if digest is not None and DIGEST.fullmatch(digest) is None:
                raise UserError(f"{name} is the sha256 of a stored picture, 64 hexadecimal digits.")
        if self.start is not None and (self.method is not Method.FUSEDREAM or self.parity is not None):
            raise UserError(
                f"To start from a picture belongs to the method {Method.FUSEDREAM} without a parity;"
                f" this one is {self.parity or self.method}."
            )
        if self.box is not None:
            object.__setattr__(self, "box", check_box(self.box))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if name == "top_k" and value is None:
                continue
            check_range(name, value, low, high)
        if self.keep > self.candidates:
            raise UserError(
                f"keep is {self.keep}, but only {self.candidates} candidates are drawn; keep at most as many."
            )

    @property
    def draws(self) -> int:
        """How many candidates are drawn: compose draws for each of its two things."""
        return 2 * self.candidates if self.method is Method.COMPOSE else self.candidates

    @property
    def parts(self) -> tuple[Part, ...]:
        """The prompt taken apart; UserError where it is not written as prompts are."""
        return parse(self.prompt)

    def to_json(self) -> dict[str, Any]:
        """Plain values, every key present."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Params:
        """The inverse of `to_json`; unknown keys of a later version are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The person behind a command, as their surface names them."""

    user: str  # the surface's own id; the name itself on the local surface
    name: str
    guild: str = "local"
    surface: str = "local"
    admin: bool = False  # the settings name them: may everything, everywhere
    moderator: bool = False  # their guild says so: may change its jobs, and nothing outside it
    roles: tuple[str, ...] = ()  # that the surface gave them, as `discord:ROLE_ID`; their limits may hang on these

    @property
    def direct(self) -> bool:
        """Whether nobody else is there: the guild DIRECT is everyone's, and shared by no one."""
        return self.guild == DIRECT

    def may_change(self, *, surface: str, user: str, guild: str) -> bool:
        """Whether a job of this person in this guild is theirs to stop, delete or withhold."""
        if self.admin:
            return True
        own = self.user == user
        return self.surface == surface and (own or (self.moderator and self.guild == guild and not self.direct))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `Queue.submit` turns into a job."""

    caller: Caller
    params: Params
    event_key: str | None = None  # `surface:event_id`: the same event submitted twice is one job
    reply_to: str | None = None  # where the reply goes, in the adapter's own words; None: somebody is waiting in person
    parent: str | None = None  # the job that a rerank re-orders
    again_of: str | None = None  # the job that is being reproduced
    cost: float = 1.0  # estimated GPU-seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted request, as the store has it. Times are seconds since the epoch by the writer's clock."""

    id: str
    caller: Caller
    params: Params
    state: State
    created_at: float
    reason: Reason | None = None
    message: str | None = None  # one sentence for the person, when failed
    reply_to: str | None = None
    parent: str | None = None
    again_of: str | None = None
    identical: bool | None = None  # of an `again`: are the pixels the same
    difference: Mapping[str, Any] | None = None  # of an `again` that differs: pixels, max, changed
    note: str | None = None  # one line for the card: a prompt that was cut, a world that ends
    withdrawn: Withdrawn | None = None
    votes: int = 0
    recipe: Mapping[str, Any] | None = None
    recipe_digest: str | None = None
    trace: Mapping[str, Any] | None = None
    token: int = 0  # fencing: raised by every claim
    owner: str | None = None
    attempt: int = 0  # how often it was claimed
    strikes: int = 0  # how often an engine died with this job alone in its batch
    solo: bool = False  # crash-suspect: runs alone
    cost: float = 1.0
    started_at: float | None = None
    first_image_at: float | None = None
    finished_at: float | None = None
    images: tuple[Image, ...] = field(default=())  # best first; filled for completed jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One kept picture of a job."""

    sha256: str  # of the PNG
    pixels_sha256: str  # of the decoded RGB bytes
    width: int
    height: int
    candidate: int  # its number among the job's draws
    label: str | None = None
    clip_score: float | None = None
    augclip_score: float | None = None
    judge_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One scored draw. `embedding` is the scorer's L2-normalised image embedding, little-endian fp16."""

    number: int
    label: str | None
    clip_score: float | None
    augclip_score: float | None = None
    judge_score: float | None = None
    embedding: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where an unfinished job was, in its method's own bytes; good for the recipe with this digest alone."""

    recipe_digest: str
    bank: int  # draws of the latent bank that the recipe looks at
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a completed job leaves behind."""

    images: tuple[Image, ...]
    candidates: tuple[Candidate, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_digest: str = ""
    trace: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None
    identical: bool | None = None
    difference: Mapping[str, Any] | None = None
    used: float = 0.0  # GPU-seconds, this job's share of its batches
    verdicts: tuple[Mapping[str, Any], ...] = ()  # concepts that the pictures show: concept, score, threshold, action


def check_prompt(prompt: str) -> str:
    """The prompt, stripped; UserError unless 1 to 3,000 characters remain and all can be stored."""
    stripped = prompt.strip()
    if not 1 <= len(stripped) <= MAX_PROMPT:
        raise UserError(f"A prompt has 1 to {MAX_PROMPT:,} characters; this one has {len(stripped):,}.")
    if "\x00" in stripped or any("\ud800" <= character <= "\udfff" for character in stripped):
        raise UserError("A prompt is text: 1 to 3,000 characters of valid Unicode without NUL.")
    return stripped


def check_box(box: Sequence[float]) -> tuple[float, ...]:
    """The box as four floats; UserError unless it lies within the picture and has sides of a tenth of it or more."""
    if len(box) != 4:
        raise UserError(BOX_WORDS)
    x, y, width, height = (float(value) for value in box)
    inside = all(s >= LEAST_SIDE and s / 2 <= c + 1e-9 and c - 1e-9 <= 1 - s / 2 for c, s in ((x, width), (y, height)))
    if not inside:
        raise UserError(BOX_WORDS)
    return x, y, width, height


def check_range(name: str, value: object, low: int, high: int) -> None:
    """UserError unless `value` is a whole number between `low` and `high`, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{name.replace('_', '-')} is a whole number from {low} to {high}; {value!r} is not.")


def choice(name: str, value: object, allowed: type[Choice]) -> Choice:
    """`value` as a member of `allowed`; UserError names the members otherwise."""
    try:
        return allowed(str(value))
    except ValueError:
        raise UserError(f"{name} is one of {', '.join(allowed)}; {value!r} is not.") from None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
