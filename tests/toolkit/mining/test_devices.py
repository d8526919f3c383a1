"""`vr mine --device`: what was asked for, or an error that says how to get it."""

import sys
from types import SimpleNamespace

import pytest
import torch

from toolkit.errors import MissingError, UsageError
from toolkit.mining.devices import resolve_mining_device
from toolkit.mining.settings import MiningSettings


@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_auto_is_the_cpu(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_mining_device(asked) == "cpu"


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="--device cpu"):
        resolve_mining_device("cuda")


def test_cuda_without_torchcodec_names_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(MissingError, match=r"vr-toolkit\[gpu\]"):
        resolve_mining_device("cuda")


def test_cuda_with_both_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace(ffmpeg_major_version=7))
    assert resolve_mining_device("cuda") == "cuda"


def test_there_is_no_other_device() -> None:
    with pytest.raises(UsageError, match="tpu"):
        resolve_mining_device("tpu")


def test_the_papers_recipe_does_not_run_on_a_gpu() -> None:
    with pytest.raises(UsageError, match="device"):
        MiningSettings(recipe="wang2015", device="cuda")
