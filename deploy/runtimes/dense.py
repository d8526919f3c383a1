"""Embed every window of a large picture in one pass, with the dense graph of a bundle.

It never imports torch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle, check_file
from deploy.onnx.dense import GRID_KEY
from deploy.onnx.make import INPUT, OUTPUT
from deploy.runtimes.session import SessionSettings, open_session, run_session
from toolkit.embedding import ClosedEmbedderError, Embeddings, check_images, chunks
from toolkit.errors import InputError, MismatchError
from toolkit.images import RgbImage
from toolkit.model_card import ModelCard
from toolkit.networks.dense_grid import Grid, Tile

# Pixels: a cut of 2048x2048 takes about 1 GB while it is computed, whatever the picture.
TILE_SIDE = 2048
_CHUNK = 8  # patches at a time; some are computed with all that is around them


@dataclass(frozen=True, slots=True)
class DenseEmbeddings:
    """What one pass over a picture gave.

    vectors: float32 (rows, columns, dim), each of length 1; boxes: the window of each, in
    pixels of the picture, xyxy, float32 (rows, columns, 4).
    """

    vectors: NDArray[np.float32]
    boxes: NDArray[np.float32]


class DenseEmbedder:
    """Runs the dense graph of a bundle with ONNX Runtime; many threads may share one object.

    Fulfils the Embedder protocol too: a patch is a picture of one window, and its vector is
    that of the network, but for a mean image (see DenseNetwork).

    Raises InputError for a bundle without a dense graph, MismatchError for a graph of another
    network, and what `open_session` raises.
    """

    def __init__(self, bundle: Bundle, settings: SessionSettings | None = None) -> None:
        if bundle.dense_note is None:
            raise InputError(
                f"The bundle {bundle.folder} has no dense graph.",
                mend="Export the run again with `vr export --dense`.",
            )
        check_file(bundle.dense_onnx, bundle.dense_note.onnx_sha256)
        opened = open_session(bundle.dense_onnx, settings or SessionSettings())
        self._card = bundle.card
        self._device = opened.device
        self._session = opened.session
        self._grid = _check_session(opened.session, bundle)

    @property
    def card(self) -> ModelCard:
        """The identity of the network."""
        return self._card

    @property
    def grid(self) -> Grid:
        """Where the windows lie."""
        return self._grid

    @property
    def runtime(self) -> str:
        """For people: "onnxruntime cpu, dense" or "onnxruntime cuda, dense"."""
        return f"onnxruntime {self._device}, dense"

    def embed_windows(self, image: RgbImage, tile_side: int = TILE_SIDE) -> DenseEmbeddings:
        """Embed every window of one picture, uint8 (height, width, 3), one window or larger.

        A picture that is longer than `tile_side` pixels is computed in parts, each with all
        the context that its windows see, so that the vectors are those of one pass. What is
        left over at the bottom and on the right, less than a stride, is in no window.

        Raises InputError for a smaller picture, ValueError for another dtype or shape,
        ClosedEmbedderError.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"an image must be uint8 (height, width, 3), not {image.dtype} {image.shape}"
            )
        size = image.shape[0], image.shape[1]
        rows, columns = self._grid.count(*size)
        vectors = np.empty((rows, columns, self._card.dim), np.float32)
        for tile in self._grid.tiles(*size, tile_side):
            vectors[tile.rows, tile.columns] = self._embed_tile(image, tile)
        return DenseEmbeddings(vectors, self._grid.boxes(rows, columns))

    def embed_tiles(self, image: RgbImage, tile_side: int = TILE_SIDE) -> Iterator[DenseEmbeddings]:
        """The same a tile at a time: a picture of any size, in bounded memory."""
        size = image.shape[0], image.shape[1]
        boxes = self._grid.boxes(*self._grid.count(*size))
        for tile in self._grid.tiles(*size, tile_side):
            yield DenseEmbeddings(self._embed_tile(image, tile), boxes[tile.rows, tile.columns])

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 (N, height, width, 3), each one window, to float32 (N, dim); N may be 0.

        Raises ValueError for another dtype or shape, ClosedEmbedderError.
        """
        check_images(images, self._card.preprocessing)
        embeddings = np.empty((len(images), self._card.dim), np.float32)
        for some in chunks(len(images), _CHUNK):
            embeddings[some] = self._run(images[some])[:, 0, 0]
        return embeddings

    def embed_as_windows(self, images: NDArray[np.uint8]) -> Embeddings:
        """Patches as if they were windows of larger pictures: what to look for among those.

        uint8 (N, height, width, 3) of the card's size to float32 (N, dim). Beyond its border
        a patch goes on as its last pixels are, for as far as the network sees. Such vectors
        come much nearer to those of `embed_windows` than the vectors of `embed`, which end in
        the zeros of the network's padding. Raises ValueError, ClosedEmbedderError.
        """
        check_images(images, self._card.preprocessing)
        around = self._grid.around
        pixels = around * self._grid.stride
        beyond = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        embeddings = np.empty((len(images), self._card.dim), np.float32)
        for some in chunks(len(images), _CHUNK):
            wide = np.pad(images[some], beyond, mode="edge")
            embeddings[some] = self._run(wide)[:, around, around]
        return embeddings

    def close(self) -> None:
        """Free the session and its memory, once no thread is using it any more."""
        self._session = None

    def _embed_tile(self, image: RgbImage, tile: Tile) -> NDArray[np.float32]:
        found = self._run(image[None, tile.top : tile.bottom, tile.left : tile.right])[0]
        row, column = tile.skip
        rows = tile.rows.stop - tile.rows.start
        columns = tile.columns.stop - tile.columns.start
        own: NDArray[np.float32] = found[row : row + rows, column : column + columns]
        return own

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Whoever got it here may finish with it, also when it is closed meanwhile.
        session = self._session
        if session is None:
            raise ClosedEmbedderError
        return run_session(session, np.ascontiguousarray(images))


def _check_session(session: Any, bundle: Bundle) -> Grid:
    """Compare the graph's own signature and notes with the card; its grid of windows."""
    card = bundle.card
    spec = card.preprocessing
    notes = session.get_modelmeta().custom_metadata_map
    found = [(node.name, node.type, len(node.shape), node.shape[3]) for node in _ends(session)]
    wanted = [(INPUT, "tensor(uint8)", 4, 3), (OUTPUT, "tensor(float)", 4, card.dim)]
    try:
        grid = Grid.from_json(json.loads(notes[GRID_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(bundle) from error
    same = (grid.height, grid.width) == (spec.height, spec.width)
    if found != wanted or not same or notes.get("fingerprint") != card.fingerprint:
        raise _foreign(bundle)
    return grid


def _ends(session: Any) -> list[Any]:
    return [
        node for node in (*session.get_inputs(), *session.get_outputs()) if len(node.shape) == 4
    ]


def _foreign(bundle: Bundle) -> MismatchError:
    return MismatchError(
        f"{bundle.dense_onnx} is no dense graph of the network that model.json describes.",
        mend="Copy the whole bundle again, or export it again with `vr export --dense`.",
    )
