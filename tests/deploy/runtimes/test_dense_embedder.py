import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploy.bundle import Bundle, DenseNote, read_bundle
from deploy.export import export_bundle
from deploy.onnx.dense import make_dense_onnx
from deploy.onnx.make import write_onnx
from deploy.proof.certificate import certify
from deploy.proof.proof_set import read_proof
from deploy.proof.windows import measure_windows, prove_windows
from deploy.runtimes.dense import DenseEmbedder
from deploy.runtimes.session import SessionSettings
from deploy.settings import ExportSettings
from toolkit.embedding import ClosedEmbedderError, Embedder
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import InputError, MismatchError
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.preprocess import Preprocessing
from toolkit.workspace import sha256_file, write_json

REPOSITORY = Path(__file__).parents[2]
ALONE = SessionSettings(device="cpu", threads=1)


@pytest.fixture(scope="module")
def dense_bundle(
    bundle: Bundle, run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    folder = tmp_path_factory.mktemp("with-dense") / "exported"
    shutil.copytree(bundle.folder, folder)
    write_onnx(make_dense_onnx(*load_model(run_folder)), folder / "dense.onnx")
    note = DenseNote(sha256_file(folder / "dense.onnx"), 16, (32, 32))
    write_json(folder / "model.json", replace(bundle, dense_note=note).as_json())
    return read_bundle(folder)


@pytest.fixture(scope="module")
def embedder(dense_bundle: Bundle) -> DenseEmbedder:
    return DenseEmbedder(dense_bundle, ALONE)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_it_is_an_embedder_and_says_what_it_is(
    embedder: DenseEmbedder, dense_bundle: Bundle
) -> None:
    assert isinstance(embedder, Embedder)
    assert embedder.runtime == "onnxruntime cpu, dense"
    assert embedder.card == dense_bundle.card
    assert (embedder.grid.height, embedder.grid.width, embedder.grid.stride) == (32, 32, 16)


@pytest.mark.parametrize("count", [0, 1, 17])
def test_patches_are_embedded_as_by_the_network(
    count: int, embedder: DenseEmbedder, run_folder: Path
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    found = embedder.embed(images)
    assert (found.shape, found.dtype) == ((count, 24), np.float32)
    wanted = TorchEmbedder.open(run_folder, "cpu").embed(images)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("side", [1, 128, 160, 200])
def test_tiles_give_what_one_pass_gives(side: int, embedder: DenseEmbedder) -> None:
    image = picture(32 + 16 * 11 + 3, 32 + 16 * 14)
    found, wanted = embedder.embed_windows(image, side), embedder.embed_windows(image)
    assert len(list(embedder.grid.tiles(*image.shape[:2], side))) > 1
    np.testing.assert_allclose(found.vectors, wanted.vectors, atol=1e-5)
    np.testing.assert_array_equal(found.boxes, wanted.boxes)
    assert found.vectors.shape == (12, 15, 24)


def test_patches_as_windows_see_their_last_pixels_go_on(embedder: DenseEmbedder) -> None:
    """The oracle paints the surroundings by hand and takes the middle window."""
    grid = embedder.grid
    patches = np.random.default_rng(3).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    found = embedder.embed_as_windows(patches)
    pixels = 3 * grid.stride
    assert grid.margin <= pixels
    for patch, vector in zip(patches, found, strict=True):
        places = np.clip(np.arange(-pixels, 32 + pixels), 0, 31)
        wide = embedder.embed_windows(patch[places][:, places])
        assert wide.boxes[3, 3].tolist() == [pixels, pixels, pixels + 32, pixels + 32]
        np.testing.assert_allclose(vector, wide.vectors[3, 3], atol=1e-5)
    assert np.abs(found - embedder.embed(patches)).max() > 1e-3
    assert embedder.embed_as_windows(patches[:0]).shape == (0, 24)


def test_boxes_and_vectors_belong_together(embedder: DenseEmbedder) -> None:
    """A change in one corner moves the vectors of the windows that see it, and no others."""
    image = picture(200, 232)
    other = image.copy()
    other[100:104, 120:124] ^= 255
    one, two = embedder.embed_windows(image), embedder.embed_windows(other)
    moved = np.abs(one.vectors - two.vectors).max(axis=2) > 1e-6
    x0, y0, x1, y1 = np.moveaxis(one.boxes, 2, 0)
    holds = (x0 <= 120) & (y0 <= 100) & (x1 >= 124) & (y1 >= 104)
    margin = embedder.grid.margin
    near = (x0 - margin < 124) & (y0 - margin < 104) & (x1 + margin > 120) & (y1 + margin > 100)
    assert moved[holds].all()
    assert not moved[~near].any()
    assert (~near).any()


def test_a_picture_of_one_window_and_one_that_is_too_small(embedder: DenseEmbedder) -> None:
    image = picture(32, 47)
    found = embedder.embed_windows(image)
    np.testing.assert_allclose(found.vectors[0], embedder.embed(image[None, :, :32]), atol=1e-6)
    assert found.boxes.tolist() == [[[0, 0, 32, 32]]]
    with pytest.raises(InputError, match=r"47x31 .* smaller than a window"):
        embedder.embed_windows(image[:31])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40, 3), np.float32),
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((1, 40, 40, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image: Any, embedder: DenseEmbedder) -> None:
    with pytest.raises(ValueError, match="height, width, 3"):
        embedder.embed_windows(image)


def test_a_view_that_is_not_contiguous(embedder: DenseEmbedder) -> None:
    image = picture(80, 120)
    view = image[::-1, ::2, ::-1]
    np.testing.assert_array_equal(
        embedder.embed_windows(view).vectors, embedder.embed_windows(view.copy()).vectors
    )


def test_threads_may_share_one_object(embedder: DenseEmbedder) -> None:
    images = [picture(48 + 16 * n, 96 - 8 * n) for n in range(8)]
    wanted = [embedder.embed_windows(image).vectors for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(embedder.embed_windows, images), wanted, strict=True):
            np.testing.assert_array_equal(found.vectors, alone)


def test_once_closed_it_is_not_used(dense_bundle: Bundle) -> None:
    embedder = DenseEmbedder(dense_bundle, ALONE)
    embedder.close()
    with pytest.raises(ClosedEmbedderError):
        embedder.embed_windows(picture(40, 40))


def test_a_bundle_without_a_dense_graph_is_an_input_error(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no dense graph") as caught:
        DenseEmbedder(bundle, ALONE)
    assert "--dense" in caught.value.mend


def test_the_graph_of_another_network_is_a_mismatch(dense_bundle: Bundle) -> None:
    """Of other weights, of another input size, and a plain graph under the dense one's name."""
    card = dense_bundle.card
    with pytest.raises(MismatchError, match="no dense graph of the network"):
        DenseEmbedder(replace(dense_bundle, card=replace(card, fingerprint="0" * 64)), ALONE)
    small = replace(card, preprocessing=replace(card.preprocessing, height=48))
    with pytest.raises(MismatchError, match="no dense graph of the network"):
        DenseEmbedder(replace(dense_bundle, card=small), ALONE)


def test_a_plain_or_cut_graph_is_a_mismatch(dense_bundle: Bundle, tmp_path: Path) -> None:
    for content in (dense_bundle.onnx.read_bytes(), dense_bundle.dense_onnx.read_bytes()[:5000]):
        (tmp_path / "dense.onnx").write_bytes(content)
        with pytest.raises(MismatchError):
            DenseEmbedder(replace(dense_bundle, folder=tmp_path), ALONE)


def test_torch_is_never_imported(dense_bundle: Bundle) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from deploy.bundle import read_bundle; from deploy.runtimes.dense import DenseEmbedder;"
        "e = DenseEmbedder(read_bundle(Path(sys.argv[1])));"
        "print(e.embed_windows(np.zeros((48, 64, 3), np.uint8)).vectors.shape);"
        "print(sorted({'torch', 'onnx', 'cv2', 'av', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(dense_bundle.folder)],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["(2, 3, 24)", "[]"]


def test_how_far_windows_are_from_patches_alone(
    embedder: DenseEmbedder, patches: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    queries, positives = patches
    reference = embedder.embed(queries), embedder.embed(positives)
    found = measure_windows(reference, embedder, queries, positives)
    alone, windows = np.concatenate(reference), embedder.embed_as_windows(np.concatenate(patches))
    cosines = (alone * windows).sum(axis=1)
    assert found.both.patches == 24
    assert found.both.cosine_mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert found.both.cosine_min == pytest.approx(cosines.min(), abs=1e-5)
    assert found.mixed.cosine_mean == pytest.approx((1 + cosines[12:].mean()) / 2, abs=1e-5)

    def naive_recall(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        scores = a @ b.T
        own = scores.diagonal() + 1e-5  # what is as near is no miss
        return float(np.mean([own >= scores.max(axis=1), own >= scores.max(axis=0)]))

    recall = naive_recall(*reference)
    mixed = naive_recall(reference[0], windows[12:])
    assert found.both.recall == pytest.approx(recall)
    assert found.mixed.delta_recall == pytest.approx(mixed - recall)
    both = naive_recall(windows[:12], windows[12:])
    assert found.as_json()["delta_recall@1"] == pytest.approx(both - recall)


def test_the_certificate_of_a_bundle_says_it(dense_bundle: Bundle, embedder: DenseEmbedder) -> None:
    proof = read_proof(dense_bundle)
    wanted = measure_windows(
        proof.reference, embedder, proof.queries, proof.positives, proof.tracks
    )
    assert prove_windows(dense_bundle) == wanted.as_json()
    parity = wanted.both
    certify(dense_bundle, "onnxruntime cpu, dense", parity, windows=wanted.as_json())
    entry = json.loads(dense_bundle.parity.read_text())["runtimes"][-1]
    assert entry["windows"] == wanted.as_json()
    assert entry["runtime"] == "onnxruntime cpu, dense"


def test_a_mean_image_is_proven_against_the_network_with_it_flattened(
    tmp_path: Path,
) -> None:
    """The whole export of a small AlexNet: the gates are passed, and not by chance."""
    torch.manual_seed(5)
    network = EmbeddingNetwork("alexnet", Preprocessing(67, 67, "bgr", 1.0), 8, mean_image=True)
    torch.nn.init.uniform_(network.preprocess.mean, 0, 255)
    for layer in network.backbone.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
    save_model(network, tmp_path / "run", {})
    rng = np.random.default_rng(4)
    queries = rng.integers(0, 256, (6, 67, 67, 3), dtype=np.uint8)
    made = export_bundle(
        tmp_path / "run", tmp_path / "out", queries, queries[::-1], ExportSettings(dense=True)
    )
    proof = read_proof(made.bundle)
    assert proof.flat is not None
    found = DenseEmbedder(made.bundle, ALONE).embed(proof.queries)
    np.testing.assert_allclose(found, proof.flat[0], atol=1e-5)
    assert np.abs(found - proof.reference[0]).max() > 1e-2
    runtimes = json.loads(made.bundle.parity.read_text())["runtimes"]
    assert [entry["passed"] for entry in runtimes] == [True, True]
    assert "windows" in runtimes[1]
    assert "windows" not in runtimes[0]


def test_many_patches_are_thinned_out_evenly(embedder: DenseEmbedder) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (130, 32, 32, 3), dtype=np.uint8)
    reference = embedder.embed(pictures), embedder.embed(pictures)
    found = measure_windows(reference, embedder, pictures, pictures)
    fewer = measure_windows((reference[0][::3], reference[1][::3]), embedder, *[pictures[::3]] * 2)
    assert found == fewer
    assert found.both.patches == 2 * 44
    with pytest.raises(InputError, match="one pair at least"):
        measure_windows((reference[0][:0], reference[1][:0]), embedder, *[pictures[:0]] * 2)
