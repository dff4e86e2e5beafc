"""CLIP: text and pictures to unit vectors. The only module that imports open_clip, so there is one path for every CLIP.

Knows preprocessing (resize, mean, std) and tokenizing; knows nothing of prompts' meaning, jobs or batches.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.errors import BadWeights
from engine.ops import Preprocess
from engine.packs import ClipSpec
from engine.vit import FrozenViT

QUICK = 1.702  # of QuickGELU


class Clip:
    """A frozen open_clip model on a device: the text tower in fp32, the image tower in the runner's dtype."""

    def __init__(self, spec: ClipSpec, device: torch.device, dtype: torch.dtype) -> None:
        self.digest = spec.digest
        self.adopt(_create(spec), device, dtype)
        self._tokenizer = _tokenizer(spec)

    def adopt(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        """Freeze a model of open_clip's on a device; `image_size` and normalisation are its own."""
        self.device, self.dtype = device, dtype
        self._model = model.to(device).eval().requires_grad_(False)
        _fold_quick_gelu(self._model.visual)
        self._model.visual.to(dtype=dtype, memory_format=torch.channels_last)
        plain = device.type == "cpu" and _is_plain(self._model.visual)
        self._layout = torch.preserve_format if plain else torch.channels_last
        self._see: Callable[[Tensor], Tensor] = FrozenViT(self._model.visual) if plain else self._model.encode_image
        preprocess = open_clip.transform.PreprocessCfg(**getattr(self._model.visual, "preprocess_cfg", {}))
        size = self._model.visual.image_size
        self.image_size = int(size[0] if isinstance(size, tuple | list) else size)
        self._mean = torch.tensor(preprocess.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess.std, device=device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Texts to (n, d) float32 on the unit sphere; what does not fit the context is cut, the end token kept."""
        tokens = self._tokenizer(texts).to(self.device)
        embeddings: Tensor = self._model.encode_text(tokens, normalize=True)
        return embeddings.float().cpu().numpy()

    def cut(self, text: str) -> str | None:
        """What of `text` still fits the tower, or None where all of it does."""
        tokens = self._tokenizer.encode(text)
        room = self._tokenizer.context_length - 2
        return None if len(tokens) <= room else str(self._tokenizer.decode(tokens[:room])).strip()

    def encode_images(self, images: Tensor, preprocess: Preprocess = Preprocess.OURS) -> Tensor:
        """Pictures (n, 3, h, w) in [-1, 1] to (n, d) float32 on the unit sphere; differentiable."""
        inputs = self.preprocess(images, preprocess).to(self.dtype, memory_format=self._layout)
        return F.normalize(self._see(inputs).float(), dim=-1)

    def preprocess(self, images: Tensor, how: Preprocess = Preprocess.OURS) -> Tensor:
        """Resize and normalise: (n, 3, size, size). Ours as CLIP was trained; the others as their programs do."""
        raw = how in (Preprocess.CSC2516, Preprocess.CLIPGEN)
        inputs = images.float() if raw else (images.float() + 1) / 2
        if inputs.shape[-1] != self.image_size:
            smooth = how is Preprocess.OURS and inputs.shape[-1] > self.image_size
            inputs = F.interpolate(inputs, size=self.image_size, mode="bilinear", antialias=smooth)
        return inputs if raw else (inputs - self._mean) / self._std


def _fold_quick_gelu(visual: nn.Module) -> None:
    """x sigmoid(1.702 x) = silu(1.702 x) / 1.702, whose factors go into the layers around it: one kernel, not three."""
    for block in visual.modules():
        mlp = getattr(block, "mlp", None)
        if mlp is not None and isinstance(getattr(mlp, "gelu", None), QuickGELU):
            mlp.c_fc.weight.mul_(QUICK)
            mlp.c_fc.bias.mul_(QUICK)
            mlp.c_proj.weight.div_(QUICK)
            mlp.gelu = nn.SiLU()


def _is_plain(visual: nn.Module) -> bool:
    """Is it a ViT of whose parts none is unknown to FrozenViT?"""
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.final_ln_after_pool:
        return False
    blocks = list(visual.transformer.resblocks)
    left_out = [visual.patch_dropout, *(scale for block in blocks for scale in (block.ls_1, block.ls_2))]
    return (
        visual.pool_type in ("tok", "avg")
        and not visual.output_tokens
        and all(type(block) is ResidualAttentionBlock for block in blocks)
        and all(isinstance(part, nn.Identity) for part in left_out)
    )


def _create(spec: ClipSpec) -> Any:
    """The model with its weights, strictly, and its tag's normalisation."""
    if spec.config is not None:
        _register(spec.config)
    tagged = _tagged(spec) if spec.tag is not None else {}
    normalised = {key: tagged[key] for key in ("mean", "std") if key in tagged}
    path = str(spec.weights.checked())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="QuickGELU mismatch.*")
        try:
            return open_clip.create_model(spec.model, pretrained=path, force_preprocess_cfg=normalised or None)
        except (RuntimeError, UserWarning) as error:
            raise BadWeights(f"{spec.weights.path.name} does not fit the CLIP {spec.model}: {error}") from error


def _tagged(spec: ClipSpec) -> dict[str, Any]:
    """What open_clip knows of the weights under this tag. A QuickGELU mismatch is an error: it would score wrong.

    open_clip itself only warns, and only where it loads by tag (mlfoundations/open_clip#771); a file has no tag.
    """
    config, tags = open_clip.get_model_config(spec.model), open_clip.list_pretrained_tags_by_model(spec.model)
    if config is None:
        raise BadWeights(f"open_clip has no model {spec.model!r}; `open_clip.list_models()` names those it has.")
    if spec.tag not in tags:
        raise BadWeights(f"tag is one of {', '.join(tags) or 'none'} with the CLIP {spec.model}; {spec.tag!r} is not.")
    tagged: dict[str, Any] = open_clip.get_pretrained_cfg(spec.model, spec.tag)
    wanted, found = bool(tagged.get("quick_gelu")), bool(config.get("quick_gelu"))
    if wanted != found:
        other = f"{spec.model}-quickgelu" if wanted else spec.model.removesuffix("-quickgelu")
        raise BadWeights(
            f"QuickGELU mismatch: the weights {spec.tag} were trained {'with' if wanted else 'without'} it, and the "
            f"model {spec.model} runs {'with' if found else 'without'} it; name {other}."
        )
    return tagged


def _register(config: Path) -> None:
    """open_clip knows configs by file name alone, so two different ones of a name are refused."""
    known = open_clip.get_model_config(config.stem)
    if known is None:
        open_clip.add_model_config(config)
    elif known != json.loads(config.read_text(encoding="utf-8")):
        raise BadWeights(f"two different CLIP configs are named {config.name}; rename one.")


def _tokenizer(spec: ClipSpec) -> Any:
    if spec.merges is None:
        return open_clip.get_tokenizer(spec.model)
    context = open_clip.get_model_config(spec.model)["text_cfg"]["context_length"]
    return open_clip.SimpleTokenizer(bpe_path=str(spec.merges), context_length=context)


def imagenet_labels() -> list[tuple[str, list[str]]]:
    """ImageNet's thousand names in the order of its classes, as open_clip words them for zero-shot use; all distinct.

    A name that two classes share gets its class number for the second, and stands among that one's synonyms.
    """
    labels: dict[str, list[str]] = {}
    for number, name in enumerate(open_clip.IMAGENET_CLASSNAMES):
        labels |= {f"{name} ({number})": [name]} if name in labels else {name: []}
    return list(labels.items())
