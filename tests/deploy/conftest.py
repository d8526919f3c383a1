"""One small run and its bundle, made once: every export takes a second or two."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.export import export_bundle
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import save_model
from toolkit.preprocess import Preprocessing


@pytest.fixture(scope="session")
def patches() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Twelve random queries of 32 px, and positives that are the same with some noise."""
    rng = np.random.default_rng(5)
    queries = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    noise = rng.integers(-8, 9, queries.shape)
    return queries, np.clip(queries.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    network = EmbeddingNetwork("small", Preprocessing(32, 32), dim=24).eval()
    folder = tmp_path_factory.mktemp("run")
    save_model(network, folder, {"run": "tests", "step": 3})
    return folder


@pytest.fixture(scope="session")
def bundle(
    run_folder: Path,
    patches: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """Not to be changed by a test; see `own_bundle`."""
    return export_bundle(run_folder, tmp_path_factory.mktemp("out") / "exported", *patches).bundle


@pytest.fixture
def own_bundle(bundle: Bundle, tmp_path: Path) -> Path:
    """The folder of a copy that a test may damage."""
    import shutil

    folder = tmp_path / "exported"
    shutil.copytree(bundle.folder, folder)
    return folder
