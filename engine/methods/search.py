"""CLIP-ranked search of a GAN (Du, Yin, Gu: "CLIP-guided Zero-Shot Text-to-Image Generation").

Take the labels whose words are nearest to the prompt, draw z and class from them, keep the best by cosine. Better by
default: nearer labels are drawn more often, what the prompt names counts as near, and among candidates of nearly equal
score that of the nearer label is the better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import NAMED, LatentSpace
from engine.methods.draws import embedded, plan, rung_of
from engine.methods.found import (
    CLAMP,
    Found,
    Past,
    Picture,
    Way,
    base_recipe,
    best_of,
    cosines,
    encode_images,
    encode_views,
    published_space,
    render,
)
from engine.methods.target import Target, encode_target
from engine.ops import TEXT_RUNG, Ask, EncodeText, Floats, Preprocess, Progress, Texts, Tower, rung_for
from storage.job import Candidate, Job, Parity

DEFAULT_TOP_K = 10
SHARPNESS, ALIKE, SLOTS = 20.0, 0.2, 200  # of the label prior
TEMPLATE = "An image of {}"  # of csc2516's labels
PREPROCESS: Mapping[Parity | None, Preprocess] = {
    Parity.CSC2516: Preprocess.CSC2516,
    Parity.FUSEDREAM: Preprocess.FUSEDREAM,
}
LEAN = 0.03  # of the log of a label's share, added to the score where candidates are ranked
TINT = 0.1  # added to the score in the ranking where a look has the colour that the prompt names
SHOWN = 3  # so many nearest things are named where a prompt lies outside the world


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the pictures, with every default resolved."""
    return base_recipe(job, space) | drawn(job, space) | {"keep": job.params.keep}


def drawn(job: Job, space: LatentSpace) -> dict[str, Any]:
    """What decides the candidates."""
    prior: dict[str, Any] = {"sharpness": SHARPNESS, "alike": ALIKE, "slots": SLOTS, "named": NAMED, "lean": LEAN}
    prior |= {"tint": TINT} if space.look_colours else {}
    if job.params.parity is not None:
        prior = {"template": TEMPLATE} if job.params.parity is Parity.CSC2516 else {"clamp": CLAMP}
    asked = {"seed": job.params.seed, "candidates": job.params.candidates, "top_k": top_k(job, space)}
    return asked | {"prior": prior, "bank": published_space(job.params, space).bank_size}


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Draw, score, keep the best."""
    space = published_space(job.params, space)
    target = yield from encode_target(job, space, past)
    scored = yield from score(job, space, target)
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    pictures = yield from keep(job, space, scored, target, judged)
    return Found(pictures, measured(scored.candidates, pictures), target.note or outside_note(space, scored.similarity))


@dataclass(slots=True, eq=False)
class Scored:
    """Candidates with their CLIP scores; what they are ranked by, one number each; the labels' similarity (labels,)."""

    similarity: NDArray[np.float64]
    candidates: list[Candidate] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The position of the highest rank, the lower number at a tie."""
        return max(range(len(self.ranks)), key=lambda i: (self.ranks[i], -self.candidates[i].number))

    def in_order(self) -> Scored:
        """By number."""
        order = sorted(range(len(self.ranks)), key=lambda i: self.candidates[i].number)
        return Scored(self.similarity, [self.candidates[i] for i in order], [self.ranks[i] for i in order])


def score(job: Job, space: LatentSpace, target: Target, *, first: int = 0, total: int | None = None) -> Ask[Scored]:
    """Candidates first..first+n-1 scored and ranked, by number.

    The best so far is shown whenever it changes; `total` counts what the caller still has to do.
    """
    asked, text = job.params, target.embedding
    scored = Scored(space.similarities(target.said, text, target.unsaid))
    allowed = yield from labels(job, space, scored.similarity, text)
    rung = rung_of(space, asked.candidates)
    tinted = space.tinted(target.said)
    shown, preview = None, None
    for some in plan(space, asked.seed, allowed, asked.candidates, first):
        classes, embeddings = yield from embedded(space, asked.seed, allowed, some, rung)
        scored.candidates += candidates(space, some.numbers, classes, embeddings, text)
        leaning = lean(allowed, len(space.labels))[classes // space.variants] + TINT * tinted[classes]
        ranks = yield from ranked(job, space, allowed, some.numbers, rung, text)
        scored.ranks += (cosines(embeddings, text) + leaning).tolist() if ranks is None else ranks
        best = scored.candidates[scored.best]
        if best is not shown:
            shown, preview = best, (yield from render(space, space.redraw(asked.seed, best)))
        yield Progress(first + len(scored.ranks), total or asked.candidates, preview, best)
    return scored.in_order()


def labels(job: Job, space: LatentSpace, similarity: NDArray[np.float64], text: Floats) -> Ask[list[int]]:
    """What candidates are drawn from, each label as often as it is to come; the parities draw from theirs alike."""
    k = top_k(job, space)
    match job.params.parity:
        case Parity.CSC2516:
            named = [TEMPLATE.format(label) for label in space.labels]
            chunks = [tuple(named[at : at + TEXT_RUNG]) for at in range(0, len(named), TEXT_RUNG)]
            embedded = []
            for chunk in chunks:
                texts: Texts = yield EncodeText(space.pack, chunk)
                embedded.append(texts.embeddings)
            nearness = np.concatenate(embedded).astype(np.float64) * text.astype(np.float64)
            return best_of(nearness.sum(axis=1), k)
        case Parity.FUSEDREAM:
            return list(range(len(space.labels)))
        case _:
            return slots(similarity, k)


def ranked(
    job: Job, space: LatentSpace, allowed: Sequence[int], numbers: Sequence[int], rung: int, text: Floats
) -> Ask[list[float] | None]:
    """A parity ranks by the score of pictures as its program prepares them for CLIP; None: as we do."""
    preprocess = PREPROCESS.get(job.params.parity)
    if preprocess is None:
        return None
    latents = space.draw(job.params.seed, allowed, numbers)
    seen = yield from encode_images(space, latents, rung, Tower.SCORER, preprocess)
    return [float(score) for score in cosines(seen, text)]


def lean(allowed: Sequence[int], labels: int) -> NDArray[np.float64]:
    """What every label (labels,) adds to a score in the ranking: a small part of the log of how often it is drawn.

    So a picture of an unlikely label must be better by more than CLIP's noise: score / LEAN is the log likelihood, the
    share its prior. A label that is not drawn from counts half a slot.
    """
    counts = np.bincount(np.asarray(allowed), minlength=labels).astype(np.float64)
    return LEAN * np.log(np.where(counts > 0, counts, 0.5) / len(allowed))


def slots(similarity: NDArray[np.float64], k: int) -> list[int]:
    """The k nearest labels, each as often as it is to be drawn: a softmax of similarity, and a share for all alike.

    The paper draws uniformly from the k. Whole numbers of slots, so that no rounding error decides a draw.
    """
    nearest = best_of(similarity, k)
    raised = np.exp(SHARPNESS * (similarity[nearest] - similarity[nearest[0]]))
    counts = np.rint(SLOTS * ((1 - ALIKE) * raised / raised.sum() + ALIKE / k)).astype(int).clip(min=1)
    return [label for label, count in zip(nearest, counts, strict=True) for _ in range(count)]


def candidates(
    space: LatentSpace,
    numbers: Sequence[int],
    classes: NDArray[np.int64],
    embeddings: NDArray[np.float16],
    text: Floats,
) -> list[Candidate]:
    """Scored candidates with their embeddings."""
    scores = cosines(embeddings, text)
    return [
        Candidate(number=n, label=space.label_of(int(c)), clip_score=float(s), embedding=e.astype("<f2").tobytes())
        for n, c, s, e in zip(numbers, classes, scores, embeddings, strict=True)
    ]


def keep(job: Job, space: LatentSpace, scored: Scored, target: Target, judged: Target) -> Ask[tuple[Picture, ...]]:
    """The best, rendered, and measured once more: on augmented views, and by the judge."""
    pictures = []
    for position in best_of(scored.ranks, job.params.keep):
        chosen = scored.candidates[position]
        latents = space.redraw(job.params.seed, chosen)
        views = yield from encode_views(space, latents)
        seen = yield from encode_images(space, latents, rung_for(1), Tower.JUDGE)
        pictures.append(
            Picture(
                candidate=chosen.number,
                label=chosen.label,
                pixels=(yield from render(space, latents)),
                clip_score=chosen.clip_score,
                augclip_score=float(cosines(views, target.embedding).mean()),
                judge_score=float(cosines(seen, judged.embedding)[0]),
            )
        )
    return tuple(pictures)


def measured(scored: list[Candidate], pictures: tuple[Picture, ...]) -> tuple[Candidate, ...]:
    """The candidates, those that were kept with their further scores."""
    kept = {p.candidate: p for p in pictures}
    return tuple(_measured(c, kept[c.number]) if c.number in kept else c for c in scored)


def _measured(candidate: Candidate, picture: Picture) -> Candidate:
    return replace(candidate, augclip_score=picture.augclip_score, judge_score=picture.judge_score)


def top_k(job: Job, space: LatentSpace) -> int:
    """How many labels are drawn from: as asked, at most all; by default 10, at most half.

    The published search has 10, however few there are; the published FuseDream draws from all.
    """
    asked, known = job.params.top_k, len(space.labels)
    if job.params.parity is Parity.FUSEDREAM:
        return known
    if asked is not None or job.params.parity is Parity.CSC2516:
        return min(asked or DEFAULT_TOP_K, known)
    return max(1, min(DEFAULT_TOP_K, known // 2))


def outside_note(space: LatentSpace, similarity: NDArray[np.float64]) -> str | None:
    """One honest line where the prompt lies outside what this pack can draw."""
    if space.outside_below is None or similarity.max() >= space.outside_below:
        return None
    nearest = [space.labels[i] for i in best_of(similarity, SHOWN)]
    return f"This is outside what {space.pack} can draw; the nearest it knows: {', '.join(nearest)}."


SEARCH = Way(recipe, run)
