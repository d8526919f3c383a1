"""The dense graph as an embedder for indexes: everything is a window, and its card says so."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundle import Bundle, DenseNote, read_bundle
from deploy.onnx.dense import make_dense_onnx
from deploy.onnx.make import write_onnx
from deploy.runtimes.dense import DenseEmbedder
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.session import SessionSettings
from deploy.runtimes.windows import (
    DenseWindows,
    are_windows,
    open_matching,
    open_windows,
    windows_card,
)
from toolkit.embedding import ClosedEmbedderError, WindowEmbedder, Windows
from toolkit.errors import InputError, MissingError, UsageError
from toolkit.networks.saved import load_model
from toolkit.workspace import sha256_file, write_json

ALONE = SessionSettings(device="cpu", threads=1)


@pytest.fixture(scope="module")
def dense_bundle(
    bundle: Bundle, run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    folder = tmp_path_factory.mktemp("windows") / "exported"
    shutil.copytree(bundle.folder, folder)
    write_onnx(make_dense_onnx(*load_model(run_folder)), folder / "dense.onnx")
    note = DenseNote(sha256_file(folder / "dense.onnx"), 16, (32, 32))
    write_json(folder / "model.json", replace(bundle, dense_note=note).as_json())
    return read_bundle(folder)


@pytest.fixture(scope="module")
def windows(dense_bundle: Bundle) -> DenseWindows:
    return DenseWindows(DenseEmbedder(dense_bundle, ALONE))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def gathered(windows: DenseWindows, image: NDArray[np.uint8]) -> Windows:
    parts = list(windows.windows_of(image))
    return Windows(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.boxes for part in parts]),
    )


def test_its_card_is_of_a_model_of_its_own(windows: DenseWindows, bundle: Bundle) -> None:
    assert isinstance(windows, WindowEmbedder)
    assert not isinstance(DenseEmbedder, WindowEmbedder)
    assert windows.runtime == "onnxruntime cpu, dense"
    assert windows.card.fingerprint != bundle.card.fingerprint
    assert len(windows.card.fingerprint) == 64
    assert windows.card.lineage["windows_of"] == bundle.card.fingerprint
    assert replace(
        windows.card, fingerprint=bundle.card.fingerprint, lineage=bundle.card.lineage
    ) == (bundle.card)
    assert are_windows(windows.card)
    assert not are_windows(bundle.card)


def test_the_fingerprint_follows_from_the_network_and_the_grid_alone(
    windows: DenseWindows, dense_bundle: Bundle
) -> None:
    grid = DenseEmbedder(dense_bundle, ALONE).grid
    card = dense_bundle.card
    fingerprint = windows.card.fingerprint
    assert windows_card(replace(card, lineage={"run": "other"}), grid).fingerprint == fingerprint
    others = {
        windows_card(replace(card, fingerprint="0" * 64), grid).fingerprint,
        windows_card(card, replace(grid, stride=32)).fingerprint,
        windows_card(card, replace(grid, margin=grid.margin + 1)).fingerprint,
        windows_card(card, replace(grid, height=48)).fingerprint,
    }
    assert len(others | {fingerprint}) == 5


def test_the_fingerprint_is_the_same_on_every_machine(windows: DenseWindows) -> None:
    from toolkit.networks.dense_grid import Grid

    card = replace(windows.card, fingerprint="ab" * 32, lineage={})
    found = windows_card(card, Grid(32, 32, 16, 47)).fingerprint
    assert found == "49ac2f9b62fe5892f911d84206f622e4a746d7dca5b767f40f6e711eea160a0f"


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (33, 47), (79, 100), (200, 64)])
def test_windows_cover_the_picture_and_inner_ones_are_those_of_the_graph(
    size: tuple[int, int], windows: DenseWindows, dense_bundle: Bundle
) -> None:
    height, width = size
    image = picture(height, width)
    found = gathered(windows, image)
    seen = np.zeros(size, bool)
    for x0, y0, x1, y1 in found.boxes.astype(int):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        seen[y0:y1, x0:x1] = True
    assert seen.all()
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    # The oracle paints what lies beyond the border by hand.
    below, right = -(height - 32) % 16, -(width - 32) % 16
    rows, columns = (
        np.clip(np.arange(n + m), 0, n - 1) for n, m in ((height, below), (width, right))
    )
    whole = DenseEmbedder(dense_bundle, ALONE).embed_windows(image[rows][:, columns])
    np.testing.assert_allclose(found.vectors, whole.vectors.reshape(-1, 24), atol=1e-5)
    assert len(found.boxes) == -(-(height - 32 + 16) // 16) * -(-(width - 32 + 16) // 16)


def test_a_large_picture_comes_in_parts(windows: DenseWindows) -> None:
    image = picture(48, 32 * 80)
    parts = list(windows.windows_of(image))
    assert len(parts) == 2
    boxes = np.concatenate([part.boxes for part in parts])
    assert len({tuple(box) for box in boxes.tolist()}) == len(boxes) == 2 * 159


def test_a_picture_that_is_smaller_than_a_window_is_one(
    windows: DenseWindows, dense_bundle: Bundle
) -> None:
    image = picture(20, 90)
    found = gathered(windows, image)
    assert found.boxes.tolist() == [[0, 0, 90, 20]]
    wanted = windows.embed(windows.card.preprocessing.fit_batch([image]))
    np.testing.assert_array_equal(found.vectors, wanted)


def test_patches_are_embedded_as_windows(windows: DenseWindows, dense_bundle: Bundle) -> None:
    patches = np.stack([picture(32, 32)] * 3)
    wanted = DenseEmbedder(dense_bundle, ALONE).embed_as_windows(patches)
    np.testing.assert_array_equal(windows.embed(patches), wanted)
    assert windows.embed(patches[:0]).shape == (0, 24)


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 4), (1, 40, 40, 3)], ids=str)
def test_what_is_no_image_is_refused(shape: tuple[int, ...], windows: DenseWindows) -> None:
    with pytest.raises(ValueError, match="height, width, 3"):
        list(windows.windows_of(np.zeros(shape, np.uint8)))
    with pytest.raises(ValueError, match="uint8"):
        list(windows.windows_of(np.zeros((40, 40, 3), np.float32)))


def test_a_closed_one_says_so(dense_bundle: Bundle) -> None:
    windows = DenseWindows(DenseEmbedder(dense_bundle, ALONE))
    windows.close()
    with pytest.raises(ClosedEmbedderError):
        list(windows.windows_of(picture(40, 40)))


def test_a_model_is_opened_as_the_vectors_of_an_index_are_made(
    windows: DenseWindows, dense_bundle: Bundle
) -> None:
    folder = dense_bundle.folder
    assert isinstance(open_matching(windows.card, folder, "auto", "cpu", 1), DenseWindows)
    assert isinstance(open_matching(dense_bundle.card, folder, "auto", "cpu", 1), OnnxEmbedder)


def test_what_cannot_compute_windows_is_refused(
    bundle: Bundle, dense_bundle: Bundle, run_folder: Path
) -> None:
    with pytest.raises(InputError, match="no dense graph") as raised:
        open_windows(bundle.folder)
    assert "vr export --dense" in raised.value.mend
    for runtime in ("torch", "tensorrt"):
        with pytest.raises(UsageError, match=runtime):
            open_windows(dense_bundle.folder, runtime)
    with pytest.raises(InputError, match="no bundle"):
        open_windows(run_folder)
    with pytest.raises(MissingError):
        open_windows(dense_bundle.folder, device="cuda")
