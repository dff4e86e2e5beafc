"""The runner on the tiny pack: padding falls away, rows do not see each other, wrong numbers are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.clip import Clip
from engine.errors import BadWeights
from engine.launches import Launch
from engine.ops import EncodeImages, EncodeText, EncodeViews, Render, Tower
from engine.packs import ClipSpec, Pack
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Candidate

NUMBERS = range(16)


def test_a_row_does_not_depend_on_its_batch_mates(runner: ModelRunner) -> None:
    """Embeddings at one rung are equal to the last bit, in any row, beside any rows."""
    space = runner.space("tiny")
    latents = [space.draw(7, [0, 1], [n]) for n in NUMBERS]
    alone = [runner.run(Launch((EncodeImages("tiny", one, 16),)))[0][0] for one in latents]
    together = runner.run(Launch(tuple(EncodeImages("tiny", one, 16) for one in reversed(latents))))
    assert all((a == b[0]).all() for a, b in zip(alone, reversed(together), strict=True))


@pytest.mark.parametrize("tower", list(Tower))
def test_text_does_not_depend_on_its_batch_mates(runner: ModelRunner, tower: Tower) -> None:
    """A prompt's embedding is equal to the last bit in every row of the rung."""
    prompts = [f"the {n} lions" for n in range(16)]
    alone = [runner.run(Launch((EncodeText("tiny", (p,), tower),)))[0].embeddings[0] for p in prompts]
    together = runner.run(Launch((EncodeText("tiny", tuple(prompts), tower),)))[0].embeddings
    assert (np.stack(alone) == together).all()


def test_embeddings_are_unit_vectors(runner: ModelRunner) -> None:
    """Images, views and texts of both towers lie on the sphere."""
    latents = runner.space("tiny").draw(7, [0], [0])
    views = runner.run(Launch((EncodeViews("tiny", latents, 0, 0, 4, 4),)))[0]
    image = runner.run(Launch((EncodeImages("tiny", latents, 4, Tower.JUDGE),)))[0]
    assert np.linalg.norm(np.concatenate([views, image]).astype(np.float64), axis=1) == pytest.approx(1, abs=2e-3)


def test_a_candidate_is_redrawn_to_the_bit(runner: ModelRunner) -> None:
    """From number and label alone come the same pixels."""
    space = runner.space("tiny")
    latents = space.draw(7, [0, 3, 4], [41])
    again = space.redraw(7, Candidate(number=41, label=space.label_of(int(latents.classes[0])), clip_score=0.0))
    first, second = (runner.run(Launch((Render("tiny", one),)))[0] for one in (latents, again))
    assert first.shape == (1, 64, 64, 3)
    assert (first == second).all()


def test_a_label_that_is_gone_is_said(runner: ModelRunner) -> None:
    """A candidate of a pack that lost its label cannot be drawn again."""
    with pytest.raises(BadWeights, match="no label 'unicorn'"):
        runner.space("tiny").redraw(7, Candidate(number=0, label="unicorn", clip_score=0.0))


def test_quickgelu_mismatch_is_an_error(tiny_packs: dict[str, Pack], monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip only warns when weights want another activation; scores would be silently wrong, so we refuse."""
    import warnings

    import open_clip

    def create(*_: object, **__: object) -> None:
        warnings.warn("QuickGELU mismatch between final model config and pretrained tag", UserWarning, stacklevel=1)

    monkeypatch.setattr(open_clip, "create_model", create)
    with pytest.raises(BadWeights, match="QuickGELU mismatch"):
        Clip(tiny_packs["tiny"].scorer, torch.device("cpu"), torch.float32)


def test_two_configs_of_one_name_are_refused(tiny_packs: dict[str, Pack], tmp_path: Path) -> None:
    """open_clip knows configs by file name; a second one would silently win."""

    spec = tiny_packs["tiny"].scorer
    assert spec.config is not None
    Clip(spec, torch.device("cpu"), torch.float32)
    other = tmp_path / spec.config.name
    other.write_text(spec.config.read_text().replace('"layers": 1', '"layers": 2'))
    with pytest.raises(BadWeights, match="two different CLIP configs are named tiny-scorer"):
        Clip(ClipSpec(spec.model, spec.weights, other, spec.merges), torch.device("cpu"), torch.float32)


def test_words_are_encoded_once(tiny_packs: dict[str, Pack], tmp_path: Path) -> None:
    """The second start reads a pack's words from the cache, to the bit; a torn cache is made anew."""
    device = choose_device(EngineSettings(device="cpu", threads=1))
    spaces = []
    for spoil in (False, False, True):
        for kept in tmp_path.glob("words-*.safetensors"):
            if spoil:
                kept.write_bytes(kept.read_bytes()[:50])
        spaces.append(ModelRunner(tiny_packs, device, tmp_path).space("tiny").word_embeddings)
    assert len(list(tmp_path.iterdir())) == 1
    assert (spaces[0] == spaces[1]).all()
    assert (spaces[0] == spaces[2]).all()


def test_quick_gelu_is_folded_and_says_the_same() -> None:
    """x sigmoid(1.702 x) as one kernel: a tower's embeddings stay what they were, to fp32's rounding."""
    import copy

    import open_clip

    from engine.clip import _fold_quick_gelu

    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 1, "layers": 1}
    plain = open_clip.CLIP(16, vision, text, quick_gelu=True).visual.eval().requires_grad_(False)
    folded = copy.deepcopy(plain)
    _fold_quick_gelu(folded)
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.allclose(plain(pictures), folded(pictures), atol=1e-5)
    assert {type(block.mlp.gelu) for block in folded.transformer.resblocks} == {torch.nn.SiLU}
