"""Labelled pictures that are easy to tell apart, and a small run to begin from."""

from pathlib import Path

import pytest
from labelled_pictures import write_labels

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import save_model
from toolkit.preprocess import Preprocessing


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(tmp_path_factory.mktemp("labels") / "colours")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was never trained."""
    import torch

    torch.manual_seed(3)
    network = EmbeddingNetwork("small", Preprocessing(32, 32), dim=16).eval()
    folder = tmp_path_factory.mktemp("runs") / "base"
    folder.mkdir()
    save_model(network, folder, {"run": "base", "step": 3})
    return folder
