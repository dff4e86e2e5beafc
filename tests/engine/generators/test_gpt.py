"""Promises of CLIP-GEN's GPT: the published layout, its cache, its choice of tokens, and its file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.gpt import GPT, Choice, Layer, Size, draw, kept, load, size_of
from engine.generators.layout import Checkpoint
from engine.rng import rng_for

TINY = Size(codes=40, length=9, condition=6, width=16, hidden=32, depth=2, heads=2)
ALL = Choice(top_k=40, top_p=1.0)


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    """A tiny state as published: every number drawn, and a mask in every block."""
    source = torch.Generator().manual_seed(0)
    weights = GPT(TINY).state_dict()
    masks = {f"blocks.{block}.mask": torch.ones(9, 9, dtype=torch.bool).triu(1) for block in range(TINY.depth)}
    return {key: 0.5 * torch.randn(weight.shape, generator=source) for key, weight in weights.items()} | masks


@pytest.fixture(scope="module")
def gpt(stored: dict[str, Tensor]) -> GPT:
    """The network of that state."""
    return load(stored, heads=TINY.heads)


def draws(*shape: int, seed: int = 1) -> Tensor:
    """Numbers that are the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniforms(rows: int, count: int = TINY.length) -> Tensor:
    """A named stream a row, as the engine draws them."""
    return torch.stack([torch.from_numpy(rng_for(7, "tokens", row).uniforms(count)) for row in range(rows)])


def published_state() -> dict[str, Tensor]:
    """`gpt_coco`'s keys and shapes, without memory for them."""
    with torch.device("meta"):
        masks = {f"blocks.{block}.mask": torch.empty(256, 256, dtype=torch.bool) for block in range(24)}
        return {**GPT(Size()).state_dict(), **masks}


def test_the_published_counts() -> None:
    """320 tensors with the 24 masks; 336.7 M parameters; 1.348 GB with a byte for each of a mask's cells."""
    state = published_state()
    parameters = sum(weight.numel() for weight in state.values() if weight.is_floating_point())
    assert len(state) == 320
    assert parameters / 1e6 == pytest.approx(336.7, abs=0.05)
    assert (4 * parameters + 24 * 256 * 256) / 1e9 == pytest.approx(1.348, abs=0.001)


def test_the_published_keys() -> None:
    """The layout of 6.4, and nothing besides."""
    state = published_state()
    names = Counter(key.split(".", 2)[2] if key.startswith("blocks.") else key for key in state)
    layers = ("self_attn.in_proj_", "self_attn.out_proj.", "linear1.", "linear2.", "norm1.", "norm2.")
    assert {key for key, count in names.items() if count == 24} == {
        "mask",
        *(f"encoder.{layer}{part}" for layer in layers for part in ("weight", "bias")),
    }
    assert {key: tuple(state[key].shape) for key, count in names.items() if count == 1} == {
        "pos_emb": (1, 256, 1024), "tok_emb.weight": (16384, 1024),
        "cond_proj.weight": (1024, 512), "cond_proj.bias": (1024,),
        "norm.weight": (1024,), "norm.bias": (1024,),
        "head.weight": (16384, 1024), "head.bias": (16384,),
    }  # fmt: skip
    assert state["blocks.23.encoder.self_attn.in_proj_weight"].shape == (3072, 1024)
    assert state["blocks.0.encoder.linear1.weight"].shape == (4096, 1024)


def test_sizes_are_read_off_the_tensors(gpt: GPT) -> None:
    """The published ones give 24 layers of 16 heads; a tiny one has to be told its heads."""
    assert size_of(Checkpoint.open(published_state())) == Size()
    assert gpt.size == TINY
    with pytest.raises(ValueError, match="width of 16 does not divide into 3 heads"):
        size_of(Checkpoint.open(gpt.state_dict()), heads=3)


def test_a_layer_is_torchs_encoder_layer(gpt: GPT, stored: dict[str, Tensor]) -> None:
    """Pre-norm, exact GELU, causal: nn.TransformerEncoderLayer with the same weights says the same."""
    theirs = nn.TransformerEncoderLayer(16, 2, 32, 0.1, functional.gelu, batch_first=True, norm_first=True).eval()
    prefix = "blocks.1.encoder."
    theirs.load_state_dict({key.removeprefix(prefix): w for key, w in stored.items() if key.startswith(prefix)})
    x, mask = draws(3, 9, 16), stored["blocks.1.mask"]
    assert torch.allclose(gpt.blocks[1](x), theirs(x, mask), atol=1e-5)


def test_a_trained_layer_drops_and_a_frozen_one_does_not() -> None:
    """Dropout is training's alone."""
    layer, x = Layer(TINY, dropout=0.5), draws(1, 4, 16)
    torch.manual_seed(0)
    assert not torch.equal(layer(x, None, 0), layer(x, None, 0))
    layer.eval()
    assert torch.equal(layer(x, None, 0), layer(x, None, 0))


def test_cached_logits_are_the_uncached(gpt: GPT) -> None:
    """At every position, to the last."""
    condition, tokens = draws(3, 6), torch.arange(24).reshape(3, 8) * 7 % 40
    whole = gpt(tokens, condition)
    cache, first = gpt.begin(condition)
    cached = torch.stack([first, *(gpt.step(cache, column) for column in tokens.T)], 1)
    assert whole.shape == cached.shape == (3, 9, 40)
    assert (whole - cached).abs().max() < 1e-4


def test_a_position_sees_only_those_before_it(gpt: GPT) -> None:
    """Another last token changes the last logits alone; another condition changes all."""
    condition, tokens = draws(1, 6), torch.arange(8)[None]
    before, after = gpt(tokens, condition), gpt(torch.tensor([[*range(7), 30]]), condition)
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-2)
    assert ((gpt(tokens, -condition) - before).abs().amax(2) > 1e-2).all()


def test_there_is_no_position_past_the_last(gpt: GPT) -> None:
    """Nine tokens are a picture here; a tenth is refused, cached or not."""
    cache, _ = gpt.begin(draws(1, 6))
    for _ in range(8):
        gpt.step(cache, torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="All 9 tokens are drawn"):
        gpt.step(cache, torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="no position"):
        gpt(torch.zeros(1, 9, dtype=torch.long), draws(1, 6))
    with pytest.raises(ValueError, match=r"Uniforms \[2, 10\] do not fit 2 rows of 1 to 9 tokens"):
        gpt.sample(draws(2, 6), torch.full((2, 10), 0.5))


def test_uniforms_decide_the_tokens(gpt: GPT) -> None:
    """The same uniforms draw the same tokens, as tensor or array; others draw others."""
    condition, chance = draws(2, 6), uniforms(2)
    tokens = gpt.sample(condition, chance)
    assert tokens.shape == (2, 9)
    assert torch.equal(tokens, gpt.sample(condition, chance.numpy()))
    assert not torch.equal(tokens, gpt.sample(condition, 1 - chance))
    assert torch.equal(tokens[:, :4], gpt.sample(condition, chance[:, :4]))


def test_a_row_does_not_depend_on_its_neighbours(gpt: GPT) -> None:
    """Alone, or among others in another order, a row draws the same tokens."""
    condition, chance = draws(4, 6), uniforms(4)
    tokens = gpt.sample(condition, chance)
    assert torch.equal(gpt.sample(condition.flip(0), chance.flip(0)), tokens.flip(0))
    assert all(torch.equal(gpt.sample(condition[[r]], chance[[r]]), tokens[[r]]) for r in range(4))


def test_sampling_is_the_uncached_loop(gpt: GPT) -> None:
    """The published way, everything computed again for every token, draws the same."""
    condition, chance, choice = draws(2, 6), uniforms(2), Choice(top_k=10, top_p=0.9, temperature=0.8)
    tokens = torch.zeros(2, 0, dtype=torch.long)
    for column in chance.T:
        tokens = torch.cat([tokens, draw(gpt(tokens, condition)[:, -1], column, choice)[:, None]], 1)
    assert torch.equal(gpt.sample(condition, chance, choice), tokens)


def slow_kept(logits: list[float], choice: Choice) -> set[int]:
    """The tokens that may be drawn, as 4.4 says it: top k, then the nucleus with the token that crosses top_p."""
    ranked = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if choice.published_ties:
        ranked = [token for token in ranked if logits[token] >= logits[ranked[choice.top_k - 1]]]
    else:
        ranked = ranked[: choice.top_k]
    weights = torch.tensor([logits[token] for token in ranked]).div(choice.temperature).softmax(0).tolist()
    crossed = [sum(weights[:place]) > choice.top_p for place in range(len(ranked))]
    return {token for token, past in zip(ranked, crossed, strict=True) if not past}


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("levels", [5, 1000])  # few levels: many ties
@pytest.mark.parametrize(("top_k", "top_p"), [(1, 0.95), (7, 1.0), (12, 0.6), (40, 0.95), (40, 0.01)])
def test_filtering_against_a_slow_reference(published: bool, levels: int, top_k: int, top_p: float) -> None:
    """The same tokens stay, with their logits over the temperature."""
    choice = Choice(top_k, top_p, temperature=0.7, published_ties=published)
    logits = (draws(6, 40).sigmoid() * levels).floor() * 4 / levels
    filtered = kept(logits, choice)
    for row, found in zip(logits, filtered, strict=True):
        left = found.isfinite()
        assert set(left.nonzero()[:, 0].tolist()) == slow_kept(row.tolist(), choice)
        assert torch.allclose(found[left], row[left] / 0.7)


def test_ties_with_the_kth() -> None:
    """We keep k, lower tokens first; the published code keeps all that tie."""
    logits = torch.tensor([[1.0, 2.0, 1.0, 1.0]])
    ours, theirs = Choice(2, 1.0), Choice(2, 1.0, published_ties=True)
    assert kept(logits, ours).isfinite().tolist() == [[True, True, False, False]]
    assert kept(logits, theirs).isfinite().all()


def test_more_than_all_tokens_are_all() -> None:
    """A codebook smaller than top_k is taken whole."""
    assert torch.equal(kept(draws(2, 40), Choice(500, 1.0)), draws(2, 40))


def test_draws_follow_the_probabilities() -> None:
    """Evenly spread uniforms fall on every token as often as its probability says."""
    logits, chance = draws(1, 40), (torch.arange(20000) + 0.5) / 20000
    counts = torch.bincount(draw(logits.expand(20000, -1), chance, ALL), minlength=40)
    assert torch.allclose(counts / 20000, logits.softmax(1)[0], atol=1e-4)


def test_the_ends_of_chance_fall_on_kept_tokens() -> None:
    """A uniform that rounds to 1 draws the least likely token that was kept, never one that was not."""
    logits = torch.tensor([[0.0, 3.0, 2.0, -5.0]]).expand(2, -1)
    ends = torch.tensor([2.0**-54, 1 - 2.0**-54], dtype=torch.float64).float()
    assert draw(logits, ends, Choice(3, 1.0)).tolist() == [1, 0]
    assert draw(logits, ends, Choice(3, 0.8)).tolist() == [1, 2]
    assert draw(logits, ends, Choice(1, 0.8)).tolist() == [1, 1]


@pytest.mark.parametrize(
    "wrong", [{"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"temperature": 0.0}, {"temperature": float("nan")}]
)
def test_a_choice_that_leaves_nothing_is_refused(wrong: dict[str, float]) -> None:
    """In a sentence with what is allowed."""
    with pytest.raises(ValueError, match=r"^A choice needs .*\.$"):
        replace(Choice(), **wrong)  # type: ignore[arg-type]


def test_a_file_says_what_its_network_said(tmp_path: Path, stored: dict[str, Tensor]) -> None:
    """Every number of the layout takes part; the masks may be there or not; half precision is the loader's word."""
    bare = {key: weight for key, weight in stored.items() if not key.endswith("mask")}
    save_file(stored, tmp_path / "masks.safetensors")
    save_file(bare, tmp_path / "bare.safetensors")
    with_masks, without = load(tmp_path / "masks.safetensors"), load(tmp_path / "bare.safetensors")
    assert with_masks.state_dict().keys() == bare.keys()
    assert all(torch.equal(weight, bare[key]) for key, weight in with_masks.state_dict().items())
    condition, chance = draws(1, 6), uniforms(1)
    assert torch.equal(with_masks.sample(condition, chance), without.sample(condition, chance))
    assert not without.training
    assert not any(weight.requires_grad for weight in without.parameters())
    half = load(tmp_path / "bare.safetensors", dtype=torch.bfloat16)
    assert half.begin(condition)[1].dtype == torch.bfloat16
    assert half.sample(condition, chance).shape == (1, 9)


def test_the_first_wrong_key_is_named(stored: dict[str, Tensor]) -> None:
    """Missing, not expected, of another shape, or a mask that looks ahead."""
    for gone in ("pos_emb", "blocks.1.encoder.norm2.bias", "blocks.0.encoder.linear1.weight", "head.bias"):
        with pytest.raises(ValueError, match=rf"^the state dict: weight '{gone}' is missing\.$"):
            load({key: weight for key, weight in stored.items() if key != gone}, heads=2)
    with pytest.raises(ValueError, match=r"^the state dict: weight 'extra' is not expected\.$"):
        load(stored | {"extra": torch.zeros(1)}, heads=2)
    for turned in ("cond_proj.weight", "blocks.1.encoder.linear2.weight", "head.weight"):
        with pytest.raises(
            ValueError, match=rf"^the state dict: weight '{turned}' has shape \[\d+, \d+\], expected \["
        ):
            load(stored | {turned: stored[turned].T}, heads=2)
    with pytest.raises(ValueError, match=r"^the state dict: weight 'blocks\.1\.mask' is not causal"):
        load(stored | {"blocks.1.mask": stored["blocks.1.mask"].T}, heads=2)
