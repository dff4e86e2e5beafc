"""A small CLIP on disk and in memory: its config, its tokenizer, its weights, and its text tower run on short rows.

It knows open_clip and the pack's folder. It does not know what is being learned, nor pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

PACK = Path(__file__).parents[1] / "packs" / "embedded"
MERGES = PACK / "merges.txt.gz"
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


@dataclass(frozen=True, slots=True)
class Clip:
    """An open_clip model with the tokenizer that fits its context."""

    model: Any
    tokenizer: Any

    @property
    def image_size(self) -> int:
        """The side that the image tower takes."""
        size = self.model.visual.image_size
        return int(size[0] if isinstance(size, tuple | list) else size)


def create_clip(config: Path, merges: Path = MERGES) -> Clip:
    """The untrained model that this JSON describes; the JSON's stem is its name at open_clip."""
    if config not in open_clip.factory._MODEL_CONFIG_PATHS:
        open_clip.add_model_config(config)
    context = open_clip.get_model_config(config.stem)["text_cfg"]["context_length"]
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(merges), context_length=context)
    model = open_clip.create_model(config.stem)
    if model.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{config.name} says vocab_size {model.vocab_size}, but {merges.name} makes {tokenizer.vocab_size}."
        )
    return Clip(model, tokenizer)


def open_trained(name: str, folder: Path = PACK) -> Clip:
    """A shipped CLIP, `scorer` or `judge`, loaded strictly and frozen."""
    clip = create_clip(folder / f"{name}.json", folder / MERGES.name)
    clip.model.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
    clip.model.eval().requires_grad_(False)
    return clip


def save_weights(model: nn.Module, path: Path) -> None:
    """fp16 safetensors, whole integers as they are; written beside, then renamed."""
    state = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    part = path.with_suffix(".part")
    save_file(state, part)
    part.replace(path)


def encode_rows(model: Any, tokens: Tensor) -> Tensor:
    """Unit vectors of token rows [n, length]; the mask is causal, so rows shorter than the context are exact."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = x[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]
    return functional.normalize((ends @ model.text_projection).float(), dim=-1)


@torch.inference_mode()
def encode_texts(clip: Clip, texts: Sequence[str], chunk: int = 512) -> Tensor:
    """Unit vectors of sentences, through open_clip's own path."""
    parts = [
        clip.model.encode_text(clip.tokenizer(list(texts[start : start + chunk])), normalize=True)
        for start in range(0, len(texts), chunk)
    ]
    return torch.cat(parts).float()


def prepare(pictures: Tensor, size: int) -> Tensor:
    """uint8 [n, side, side, 3] to the tower's input: bilinear without antialias, CLIP's mean and standard deviation."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    if x.shape[-1] != size:
        x = functional.interpolate(x, size=(size, size), mode="bilinear")
    mean, std = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def encode_pictures(clip: Clip, pictures: Tensor, chunk: int = 256) -> Tensor:
    """Unit vectors of uint8 pictures."""
    parts = [
        clip.model.encode_image(prepare(pictures[start : start + chunk], clip.image_size), normalize=True)
        for start in range(0, len(pictures), chunk)
    ]
    return torch.cat(parts).float()
