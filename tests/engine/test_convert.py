"""Pickled checkpoints: read once, weights only, in a child; everything else that they hold stays where it is."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.convert import SPARE, check, convert, fits, is_safetensors, rewrite
from engine.errors import PullFailed
from tests.engine.generators.test_biggan import tiny, without_sv0


class Harm:
    """Unpickling it makes a folder: what a malicious checkpoint would do, only kinder."""

    def __init__(self, where: Path) -> None:
        self._where = str(where)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self._where,)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_come_through_with_their_names_and_bits(tmp_path: Path, zipped: bool) -> None:
    """Both of PyTorch's formats, half precision, tensors that share memory, and numpy's numbers beside the weights."""
    shared = torch.arange(6.0)
    weights = {
        "a.weight": shared.view(2, 3),
        "b.bias": shared[:2],
        "c": torch.ones(2, 2).half().T,
        "n": torch.tensor(3),
    }
    held = {"state_dict": weights, "best_fid": np.float64(34.73), "step": np.int64(7), "run_name": "sagan"}
    torch.save(held, tmp_path / "in.pth", _use_new_zipfile_serialization=zipped)
    rewrite(tmp_path / "in.pth", tmp_path / "out", "state_dict")
    read = load_file(tmp_path / "out")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[key], weights[key]) and read[key].dtype == weights[key].dtype for key in weights)


def test_a_malicious_file_runs_nothing(tmp_path: Path) -> None:
    """Refused in one sentence, through the child; the control shows that it would have run."""
    torch.save({"model": {"w": torch.ones(1)}, "harm": Harm(tmp_path / "harm")}, tmp_path / "in.pt")
    with pytest.raises(PullFailed, match=r"in\.pt is not taken: it holds more than weights.* is refused"):
        convert(tmp_path / "in.pt", tmp_path / "out", inside="model", layout=None)
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "out").exists()
    torch.load(tmp_path / "in.pt", weights_only=False)
    assert (tmp_path / "harm").is_dir()


def test_a_malicious_file_of_the_old_format_runs_nothing(tmp_path: Path) -> None:
    """The format before zip files, read by another path of PyTorch's."""
    torch.save({"harm": Harm(tmp_path / "harm")}, tmp_path / "in.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="holds more than weights"):
        rewrite(tmp_path / "in.pt", tmp_path / "out", None)
    assert not (tmp_path / "harm").exists()


def test_a_plain_pickle_and_a_page_are_refused(tmp_path: Path) -> None:
    """Neither is a checkpoint, whatever it is called."""
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Harm(tmp_path / "harm"), protocol=2))
    with pytest.raises((ValueError, RuntimeError)):
        rewrite(tmp_path / "plain.bin", tmp_path / "out", None)
    assert not (tmp_path / "harm").exists()
    (tmp_path / "page.pth").write_text("<html>too many downloads")
    with pytest.raises(ValueError, match="neither a safetensors file nor a checkpoint"):
        rewrite(tmp_path / "page.pth", tmp_path / "out", None)


@pytest.mark.parametrize(
    ("held", "inside", "says"),
    [
        ({"w": torch.ones(1)}, "model", "it holds no 'model'"),
        ([torch.ones(1)], None, "it holds no weights by name"),
        ({"model": {"w": torch.ones(1), "epoch": 3}}, "model", "it holds 'epoch', which is no weight"),
    ],
)
def test_what_is_not_weights_is_named(tmp_path: Path, held: object, inside: str | None, says: str) -> None:
    """The key that is missing, or that holds something else."""
    torch.save(held, tmp_path / "in.pt")
    with pytest.raises(ValueError, match=says):
        rewrite(tmp_path / "in.pt", tmp_path / "out", inside)


def test_the_child_names_the_first_wrong_key(tmp_path: Path) -> None:
    """A layout is checked before the file gets its name; what fits passes."""
    state = {key: weight.float() for key, weight in without_sv0(tiny(128)).items()}
    save_file(state, tmp_path / "good.safetensors")
    assert is_safetensors(tmp_path / "good.safetensors")
    fits(tmp_path / "good.safetensors", "biggan")
    del state["blocks.0.0.conv1.bias"]
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(PullFailed, match=r"weight 'blocks\.0\.0\.conv1\.bias' is missing"):
        check(tmp_path / "bad.safetensors", layout="biggan")


def test_the_child_may_not_eat_the_memory(tmp_path: Path) -> None:
    """A small file that unfolds to more than the limit: refused, and the parent goes on."""
    torch.save({"w": torch.zeros(1).expand(SPARE // 2)}, tmp_path / "bomb.pt")
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(PullFailed, match=r"bomb\.pt"):
        convert(tmp_path / "bomb.pt", tmp_path / "out", inside=None, layout=None)
    assert not (tmp_path / "out").exists()
