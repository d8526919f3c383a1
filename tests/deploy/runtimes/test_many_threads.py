"""The behaviour that all embedders share, of ONNX Runtime (both ways of opening) and torch."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.export import export_bundle
from deploy.onnx.make import GraphOptions
from deploy.runtimes import open_embedder
from deploy.settings import ExportSettings
from toolkit.embedding import ClosedEmbedderError, Embedder

Open = Callable[[], Embedder]


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def static_bundle(
    run_folder: Path,
    patches: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A graph that takes five pictures, no more and no fewer."""
    folder = tmp_path_factory.mktemp("static") / "exported"
    settings = ExportSettings(graph=GraphOptions(batch=5))
    return export_bundle(run_folder, folder, *patches, settings).bundle


@pytest.fixture(params=["onnx", "quick", "static", "torch"])
def opens(request: Any, bundle: Bundle, static_bundle: Bundle, run_folder: Path) -> Open:
    return {
        "onnx": lambda: open_embedder(bundle.folder, "onnx", "cpu", 1),
        "quick": lambda: open_embedder(bundle.folder, "onnx", "cpu", 1, quick=True),
        "static": lambda: open_embedder(static_bundle.folder, "onnx", "cpu", 1),
        "torch": lambda: open_embedder(run_folder, "torch", "cpu"),
    }[request.param]


def test_many_threads_get_what_one_gets(opens: Open) -> None:
    embedder = opens()
    batches = [random_images(count) for count in range(24)]
    wanted = [embedder.embed(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        for found, alone in zip(pool.map(embedder.embed, batches * 3), wanted * 3, strict=True):
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 131])
def test_a_batch_of_any_size_gives_a_row_for_each(count: int, opens: Open) -> None:
    """Some of them embedded alone: the batch, the chunks and the padding change nothing."""
    embedder = opens()
    images = random_images(count)
    found = embedder.embed(images)
    assert (found.shape, found.dtype) == ((count, 24), np.float32)
    for row in {0, 4, 5, 31, 32, 127, 128, count - 1} & set(range(count)):
        alone = embedder.embed(images[row : row + 1])[0]
        np.testing.assert_allclose(found[row], alone, atol=2e-6)


def test_views_and_memory_that_must_not_be_written_to(opens: Open) -> None:
    embedder = opens()
    images = random_images(8)[::-2, :, ::-1]
    wanted = embedder.embed(images.copy())
    images.flags.writeable = False
    np.testing.assert_array_equal(embedder.embed(images), wanted)
    whole = np.ascontiguousarray(images)
    whole.flags.writeable = False
    np.testing.assert_array_equal(embedder.embed(whole), wanted)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 32, 31, 3), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 16, 16, 3), np.uint8),
    ],
    ids=["type", "width", "channels first", "one picture", "none of another size"],
)
def test_another_type_or_size_is_refused(images: Any, opens: Open) -> None:
    with pytest.raises(ValueError, match="fit_batch"):
        opens().embed(images)


@pytest.mark.parametrize("count", [0, 3])
def test_a_closed_embedder_says_that_it_is(count: int, opens: Open) -> None:
    embedder = opens()
    embedder.close()
    embedder.close()
    with pytest.raises(ClosedEmbedderError, match="closed"):
        embedder.embed(random_images(count))
    assert embedder.card.dim == 24


def test_closing_while_another_thread_embeds(opens: Open) -> None:
    """It ends at the next chunk, with an error and nothing worse."""
    embedder = opens()
    started = threading.Event()

    def embed_for_ever() -> None:
        images = random_images(300)
        while True:
            embedder.embed(images)
            started.set()

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(embed_for_ever) for _ in range(2)]
        assert started.wait(60)
        embedder.close()
        for future in working:
            with pytest.raises(ClosedEmbedderError):
                future.result(60)


def test_a_graph_of_a_fixed_batch_agrees_with_one_of_any(
    bundle: Bundle, static_bundle: Bundle
) -> None:
    images = random_images(12)
    fixed = open_embedder(static_bundle.folder, device="cpu").embed(images)
    any_number = open_embedder(bundle.folder, device="cpu").embed(images)
    np.testing.assert_allclose(fixed, any_number, atol=2e-6)
