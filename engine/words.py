"""The words of a pack's labels as its scorer sees them: shipped with the pack, or encoded once and kept in the cache.

Knows templates, files and digests; knows no prompts. A file that was made for another scorer, other templates or other
labels is refused: its similarities would choose wrong labels without a sign.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from engine.clip import Clip
from engine.errors import BadWeights
from engine.ops import TEXT_RUNG
from engine.packs import Pack
from storage.recipe import canonical

KEY, MADE_FOR = "embeddings", "made_for"


def words_of(pack: Pack) -> list[str]:
    """Every name and synonym, in the labels' order."""
    return [word for label in pack.labels for word in (label.name, *label.synonyms)]


def word_embeddings(pack: Pack, clip: Clip, cache: Path | None) -> NDArray[np.float32]:
    """Embeddings (words, d) of a pack's words: from its own file, from the cache, or encoded now. BadWeights."""
    if pack.words is not None:
        return read_words(pack, pack.words.checked())
    kept = cache / f"words-{made_for(pack)[:32]}.safetensors" if cache else None
    if kept is not None and kept.is_file():
        with contextlib.suppress(BadWeights):  # torn by a crash: encode anew
            return read_words(pack, kept)
    embeddings = embed_words(clip, pack.templates, words_of(pack))
    if kept is not None:
        write_words(pack, embeddings, kept)
    return embeddings


def embed_words(clip: Clip, templates: Sequence[str], words: Sequence[str]) -> NDArray[np.float32]:
    """Embeddings (words, d): of each the mean over the pack's templates, back on the unit sphere."""
    texts = [template.format(word) for word in words for template in templates]
    if not texts:
        return np.zeros((0, 0), np.float32)
    padded = texts + [""] * (-len(texts) % TEXT_RUNG)
    chunks = [padded[at : at + TEXT_RUNG] for at in range(0, len(padded), TEXT_RUNG)]
    embedded = np.concatenate([clip.encode_text(chunk) for chunk in chunks])[: len(texts)]
    means = embedded.reshape(len(words), len(templates), -1).mean(axis=1)
    unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def made_for(pack: Pack) -> str:
    """The digest of all that decides these embeddings: scorer, templates, words."""
    decisive = {"scorer": pack.scorer.digest, "templates": list(pack.templates), "words": words_of(pack)}
    return hashlib.sha256(canonical(decisive).encode()).hexdigest()


def write_words(pack: Pack, embeddings: NDArray[np.float32], path: Path) -> None:
    """Write them with what they were made for, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
        draft.write(save({KEY: np.ascontiguousarray(embeddings)}, {MADE_FOR: made_for(pack)}))
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)


def read_words(pack: Pack, path: Path) -> NDArray[np.float32]:
    """Read them back; BadWeights where they were made for another scorer, other templates or other labels."""
    try:
        with safe_open(path, framework="np") as file:
            belongs = (file.metadata() or {}).get(MADE_FOR)
            embeddings: NDArray[np.float32] = file.get_tensor(KEY)
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path} holds no words: {error}") from error
    if belongs != made_for(pack) or len(embeddings) != len(words_of(pack)):
        raise BadWeights(
            f"{path} was made for another scorer, other templates or other labels than pack {pack.name} has; "
            "whoever made the pack has to write it anew (`python -m engine.training pack` for the embedded one)."
        )
    return embeddings.astype(np.float32)
