"""What only a CUDA device can show: the bits of a launch that is replayed, and bf16 against fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.climbing import CLIMBERS
from engine.latents import LatentSpace
from engine.launches import Launch
from engine.ops import Climb, EncodeImages, Op, Slope
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; this machine has none"),
]


def made(folder: Path, device: str, dtype: str) -> tuple[ModelRunner, LatentSpace]:
    """The tiny pack."""
    runner = ModelRunner(find_packs(folder), choose_device(EngineSettings(device=device, dtype=dtype, threads=1)))
    return runner, runner.space("tiny")


def climbs(space: LatentSpace, count: int, views: int = 8) -> list[Op]:
    """So many jobs, each with a picture and a prompt of its own."""
    drawn = [space.draw(7, range(5), [n]) for n in range(count)]
    return [Climb("tiny", one, space.word_embeddings[n % 5], n, 0, views) for n, one in enumerate(drawn)]


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_replayed_rung_has_the_same_bits(tmp_path_factory: pytest.TempPathFactory, dtype: str) -> None:
    """A climb and a search at their rung: alone, again, and at any place among others, to the last bit."""
    from tests.engine.tiny import make_tiny_pack

    runner, space = made(make_tiny_pack(tmp_path_factory.mktemp("packs")).parent, "cuda", dtype)
    images: list[Op] = [EncodeImages("tiny", space.draw(7, range(5), [n]), 8) for n in range(8)]
    for ops in (climbs(space, min(8, CLIMBERS)), images):
        alone = [runner.run(Launch((op,)))[0] for op in ops]
        for many in (runner.run(Launch(tuple(ops))), runner.run(Launch(tuple(ops[::-1])))[::-1]):
            for one, other in zip(alone, many, strict=True):
                assert _same(one, other)


def _same(one: Slope | np.ndarray, other: Slope | np.ndarray) -> bool:
    if isinstance(one, Slope) and isinstance(other, Slope):
        return one.score == other.score and bool((one.z == other.z).all() and (one.y == other.y).all())
    return bool((np.asarray(one) == np.asarray(other)).all())


def test_bf16_on_the_device_points_where_fp32_on_the_cpu_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Embeddings within a cosine of 0.999, gradients of 16 views within 0.99."""
    from tests.engine.tiny import make_tiny_pack

    folder = make_tiny_pack(tmp_path_factory.mktemp("packs")).parent
    (fast, space), (exact, _) = made(folder, "cuda", "bf16"), made(folder, "cpu", "fp32")
    (op,) = climbs(space, 1, views=16)
    one, other = (runner.run(Launch((op,)))[0] for runner in (fast, exact))
    assert _cosine(np.concatenate([one.z, one.y]), np.concatenate([other.z, other.y])) > 0.99
    seen = Launch((EncodeImages("tiny", space.draw(7, range(5), range(8)), 8),))
    for mine, theirs in zip(fast.run(seen)[0], exact.run(seen)[0], strict=True):
        assert _cosine(mine, theirs) > 0.999


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
