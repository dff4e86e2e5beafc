"""`python -m engine.training merges`: the CLIPs' tokenizer, CLIP's own merges cut to those that the training text uses.

It knows open_clip's merge list and words. A word that was cut away falls into smaller pieces, down to bytes; it is
never an error. It does not know what the words mean.
"""

import argparse
import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer, default_bpe, get_pairs

from engine.training.data import data_folder, flickr8k, tiny_imagenet_names
from engine.training.text import MERGES
from engine.training.vocabulary import load_vocabulary

HEADER = "merges of CLIP's byte-pair encoding that occur in the training text"
LEAST = 4  # times that Flickr8k's captions must use a word; our own words count from once


def main(verb: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the pack's merges anew; the configs' vocab_size must be what this prints."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.training {verb}")
    parser.add_argument("--out", type=Path, default=MERGES)
    parser.add_argument("--cache", type=Path, default=Path(".training") / "cache")
    chosen = parser.parse_args(argv)
    data = data_folder(environ)
    captions = [text for texts in flickr8k(data, chosen.cache).captions for text in texts]
    merges = cut_merges(captions, load_vocabulary(tiny_imagenet_names(data)).texts(), LEAST)
    write_merges(chosen.out, merges)
    sys.stdout.write(f"{len(merges)} merges: vocab_size {SimpleTokenizer(str(chosen.out)).vocab_size}\n")
    return 0


def cut_merges(texts: Iterable[str], always: Iterable[str], least: int) -> list[tuple[str, str]]:
    """CLIP's merges that words seen `least` times use (words of `always`: once), in CLIP's own order."""
    ranks = SimpleTokenizer(default_bpe()).bpe_ranks
    seen = Counter(word for text in texts for word in words_of(text))
    kept = {word for word, count in seen.items() if count >= least}
    kept.update(word for text in always for word in words_of(text))
    used = {pair for word in kept for pair in _merges_of(word, ranks)}
    return sorted(used, key=ranks.__getitem__)


def write_merges(path: Path, merges: Sequence[tuple[str, str]]) -> None:
    """As SimpleTokenizer reads it: a first line it skips, then a merge a line; no line break at the end."""
    lines = [HEADER, *(" ".join(pair) for pair in merges)]
    with path.open("wb") as stream, gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as packed:
        packed.write("\n".join(lines).encode())


def words_of(text: str) -> list[str]:
    """A text's words, as far as the cut of the merges cares."""
    return re.findall(r"[a-z]+", text.lower())


def _merges_of(word: str, ranks: Mapping[tuple[str, str], int]) -> set[tuple[str, str]]:
    parts = (*word[:-1], word[-1] + "</w>")
    used = set()
    while len(parts) > 1:
        best = min(get_pairs(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        used.add(best)
        parts = _merged(parts, best)
    return used


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair and not merged[-1].endswith("</w>"):
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)
