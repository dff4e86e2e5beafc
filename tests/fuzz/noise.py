"""What a hostile or broken sender might send: words, JSON bent out of shape, TOML bent out of shape."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from bot import arguments

LIVE = ("@everyone", "@here", "<@300000000000000001>", "<@&1>", "<#2>", "<!channel>", "<!subteam^S1|x>", "<@U0ADA>")
PATHS = ("../" * 9 + "etc/passwd", "/etc/shadow", "C:\\CON", "..", "~root", "file:///etc/hosts", "a\0b", "x" * 5_000)
MARKS = (
    "```",
    "`",
    "\\",
    "*_~|",
    "](https://a.b)",
    "\u202e",
    "\u200b",
    "\ufeff",
    "\r\n",
    "\x1b[2J",
    "\x00",
    "😀",
    "%s{0}",
)
NUMBERS = ("-1", "0", "1e9", "nan", "inf", "0x10", "９", "4294967296", "1" * 400, "-0.0", "1_000")
JOBS = ("k7f3q2", "aaaaaa", "K7F3Q2", "k7f3q", "../../..", "")
OPTIONS = tuple(
    f"--{name}" for name in ("seed", "keep", "method", "pack", "box", "image", "top-k", "by", "of", "--", "")
)

plain = st.text(max_size=60)
pieces = st.one_of(plain, st.sampled_from((*LIVE, *PATHS, *MARKS, *NUMBERS, *JOBS, *OPTIONS, *arguments.OPTIONS)))
words = st.lists(pieces, max_size=8).map(" ".join)
glued = st.lists(pieces, max_size=6).map("".join)
texts = st.one_of(words, glued)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from([float("inf"), float("nan"), -(10**400), 10**400]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=6
)


@st.composite
def bent(draw: st.DrawFn, whole: st.SearchStrategy[Mapping[str, Any]], times: int = 3) -> dict[str, Any]:
    """A well-formed tree with up to so many branches gone, or something else in their place."""
    tree: dict[str, Any] = copy.deepcopy(dict(draw(whole)))
    for _ in range(draw(st.integers(0, times))):
        branch, twig = _branch(draw, tree)
        if branch is None:
            break
        if draw(st.booleans()):
            del branch[twig]
        else:
            branch[twig] = draw(values)
    return tree


def _branch(draw: st.DrawFn, tree: Any) -> tuple[Any, Any]:
    """A container in the tree and a key of it, or nothing if the tree is bare."""
    here, twig = None, None
    while isinstance(tree, dict | list) and tree:
        here, twig = tree, draw(st.sampled_from(list(tree) if isinstance(tree, dict) else list(range(len(tree)))))
        if draw(st.integers(0, 2)) == 0:
            break
        tree = tree[twig]
    return here, twig


def toml(tree: Mapping[str, Any]) -> str:
    """A tree as TOML, tables in one line; nothing stands for None."""
    return "\n".join(f"{_string(key)} = {_literal(value)}" for key, value in tree.items() if value is not None)


def _literal(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case dict():
            return "{" + ", ".join(f"{_string(k)} = {_literal(v)}" for k, v in value.items() if v is not None) + "}"
        case list():
            return "[" + ", ".join(_literal(one) for one in value if one is not None) + "]"
        case _:
            return str(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
