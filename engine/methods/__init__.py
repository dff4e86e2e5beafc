"""Methods: ways to make a picture, one paper a file. A plain table, so that grep finds them."""

from __future__ import annotations

from collections.abc import Mapping

from engine.methods.clipgen import CLIPGEN
from engine.methods.compose import COMPOSE
from engine.methods.found import Found, Past, Picture, Way
from engine.methods.fusedream import FUSEDREAM
from engine.methods.rerank import RERANK
from engine.methods.search import SEARCH
from storage.job import Method

METHODS: Mapping[Method, Way] = {
    Method.SEARCH: SEARCH,
    Method.FUSEDREAM: FUSEDREAM,
    Method.COMPOSE: COMPOSE,
    Method.CLIPGEN: CLIPGEN,
    Method.RERANK: RERANK,
}

__all__ = ["METHODS", "Found", "Past", "Picture", "Way"]
