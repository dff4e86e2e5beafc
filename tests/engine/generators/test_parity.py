"""BigGAN-deep against `pytorch-pretrained-biggan` itself: the same weights, through our converter, the same pictures.

The package lies in .parity, where `deploy/test` installs it without its dependencies; what it imports of them and
never calls here is stood in for.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.convert import rewrite
from engine.generators.biggan_deep import load
from tests.conftest import ROOT
from tests.engine.generators.reference import LAST, RGB

PARITY = ROOT / ".parity"
HEAD = [(False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8)]
MIDDLE = [*HEAD, (True, 8, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 2)]
LAYERS = {
    128: [*HEAD, (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1)],
    256: [*MIDDLE, (False, 2, 2), (True, 2, 1)],
    512: [*MIDDLE, (False, 2, 2), (True, 2, 1), (False, 1, 1), (True, 1, 1)],
}
TRUNCATIONS = (1.0, 0.4, 0.43, 0.436)  # 0.43 lies half way between two rows, where weights may be swapped unseen
SIZES = [128, pytest.param(256, marks=pytest.mark.long), pytest.param(512, marks=pytest.mark.long)]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package; skipped, saying why, where it is not installed."""
    if not (PARITY / "pytorch_pretrained_biggan").is_dir():
        pytest.skip(f"{PARITY} holds no pytorch_pretrained_biggan; `deploy/test` installs it where there is a network")
    monkeypatch.syspath_prepend(str(PARITY))
    stubs: dict[str, dict[str, Any]] = {"boto3": {}, "requests": {}, "botocore": {}, "scipy": {}}
    stubs |= {"botocore.exceptions": {"ClientError": OSError}, "scipy.stats": {"truncnorm": None}}
    for name, holds in stubs.items():
        module = ModuleType(name)
        vars(module).update(holds)
        monkeypatch.setitem(sys.modules, name, module)
    return importlib.import_module("pytorch_pretrained_biggan")


def published(package: ModuleType, resolution: int) -> nn.Module:
    """Their network with a value of its own in every parameter and buffer; two power iterations for u and v."""
    config = package.BigGANConfig(output_dim=resolution, layers=LAYERS[resolution])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's old spectral norm, which is the published one
        network: nn.Module = package.BigGAN(config)
    random = torch.Generator().manual_seed(resolution)
    for name, tensor in network.state_dict().items():
        fan = max(1, tensor[0].numel() if tensor.dim() > 1 else 1)
        tensor.normal_(generator=random).mul_(fan**-0.5)
        if "running_vars" in name:
            tensor.exp_()
        if name.startswith(LAST) or name.endswith(RGB):
            tensor.mul_(0.1)
    for module in network.modules():
        if hasattr(module, "weight_u"):
            matrix = module.weight_orig.detach().flatten(1)
            for _ in range(2):
                module.weight_v.copy_(functional.normalize(matrix.T @ module.weight_u, dim=0))
                module.weight_u.copy_(functional.normalize(matrix @ module.weight_v, dim=0))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("resolution", SIZES)
def test_pictures_are_the_packages_own(package: ModuleType, resolution: int, tmp_path: Path) -> None:
    """Within 1e-4 in fp32, at truncations with statistics of their own and between; one class, and a mixture."""
    network = published(package, resolution)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    rewrite(tmp_path / "pytorch_model.bin", tmp_path / "generator.safetensors", None)
    ours = load(tmp_path / "generator.safetensors")
    random = torch.Generator().manual_seed(1)
    z = torch.randn(1, 128, generator=random)
    vector = functional.one_hot(torch.tensor([207]), 1000).float() * 0.7
    vector[0, 951] = 0.3
    for truncation in TRUNCATIONS:
        ours.use_truncation(truncation, hf_compat=True)
        wanted: Tensor = network(z * truncation, vector, truncation)
        drawn = ours(z * truncation, vector @ ours.embeddings.weight)
        assert wanted.std((2, 3)).min() > 0.02, "a flat picture proves nothing"
        assert wanted.abs().mean() < 0.9, "a saturated one neither"
        assert (drawn - wanted).abs().max() < 1e-4
    ours.use_truncation(TRUNCATIONS[-1])
    assert (ours(z * TRUNCATIONS[-1], vector @ ours.embeddings.weight) - wanted).abs().max() > 1e-3
