"""The Embedder that runs a bundle with ONNX Runtime. It never imports torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.onnx.make import INPUT, OUTPUT, PROBABILITIES
from deploy.runtimes.session import OpenSession, SessionSettings, open_session, run_session
from toolkit.embedding import ClosedEmbedderError, Embeddings, check_images, chunks
from toolkit.errors import MismatchError
from toolkit.model_card import ModelCard

_CHUNK = {"cpu": 32, "cuda": 256}  # pictures at a time: past this memory grows and speed does not


class OnnxEmbedder:
    """Runs a bundle on the CPU or CUDA; many threads may share one object.

    device: "cpu", "cuda", or "auto" for CUDA where it really works. threads: on the CPU,
    None for as many as this process may use. opened: a session that was opened on the
    bundle's model.onnx already; device and threads are then its own.

    Raises MissingError when ONNX Runtime or the CUDA asked for cannot be had, UsageError for
    another device or fewer than one thread, MismatchError when model.onnx is no embedding
    network or not that of the card.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        threads: int | None = None,
        *,
        opened: OpenSession | None = None,
    ) -> None:
        if opened is None:
            opened = open_session(bundle.onnx, SessionSettings(device, threads))
        self._card = bundle.card
        self._classes = bundle.classes
        self._device = opened.device
        self._session = opened.session
        self._batch = _check_session(self._session, bundle)

    @property
    def card(self) -> ModelCard:
        """The identity of the network."""
        return self._card

    @property
    def runtime(self) -> str:
        """For people: "onnxruntime cpu" or "onnxruntime cuda"."""
        return f"onnxruntime {self._device}"

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 (N, height, width, 3) of the card's size to float32 (N, dim); N may be 0.

        Raises ValueError for another dtype or shape, ClosedEmbedderError once it is closed.
        """
        return self._run(images, OUTPUT, self._card.dim)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none where the bundle is no classifier."""
        return self._classes

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, height, width, 3) of the card's size to float32 (N, classes); N may be 0.

        The probabilities of the classes of a picture. Raises ValueError for another dtype or
        shape, or where there are no classes, ClosedEmbedderError once it is closed.
        """
        if not self._classes:
            raise ValueError("this bundle is no classifier")
        return self._run(images, PROBABILITIES, len(self._classes))

    def _run(self, images: NDArray[np.uint8], output: str, width: int) -> NDArray[np.float32]:
        check_images(images, self._card.preprocessing)
        self._open_session()
        found = np.empty((len(images), width), np.float32)
        for rows in chunks(len(images), self._batch or _CHUNK[self._device]):
            found[rows] = self._run_chunk(images[rows], output)
        return found

    def _run_chunk(self, images: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        chunk = np.ascontiguousarray(images)
        missing = (self._batch or 0) - len(chunk)
        if missing > 0:  # a graph of a fixed batch takes no fewer
            chunk = np.concatenate([chunk, np.zeros((missing, *chunk.shape[1:]), np.uint8)])
        return run_session(self._open_session(), chunk, output)[: len(images)]

    def _open_session(self) -> Any:
        # Whoever got it here may finish a chunk with it, also when it is closed meanwhile.
        session = self._session
        if session is None:
            raise ClosedEmbedderError
        return session

    def close(self) -> None:
        """Free the session and its memory, once no thread is using it any more."""
        self._session = None


def _check_session(session: Any, bundle: Bundle) -> int | None:
    """Compare the graph's own signature and fingerprint with the card's; its fixed batch."""
    card = bundle.card
    spec = card.preprocessing
    nodes = (*session.get_inputs(), *session.get_outputs())
    found = [_signature(node) for node in nodes]
    wanted = [
        (INPUT, "tensor(uint8)", (spec.height, spec.width, 3)),
        (OUTPUT, "tensor(float)", (card.dim,)),
    ]
    if bundle.classes:
        wanted.append((PROBABILITIES, "tensor(float)", (len(bundle.classes),)))
    if found != wanted:
        raise MismatchError(
            f"{bundle.onnx} takes and gives {found}, not {wanted}: it is no export of this network."
        )
    inside = session.get_modelmeta().custom_metadata_map.get("fingerprint")
    batch = nodes[0].shape[0]
    fixed = batch if isinstance(batch, int) else None
    if inside != card.fingerprint or fixed != bundle.batch:
        raise MismatchError(
            f"{bundle.onnx} was exported from another network than its model.json describes.",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        )
    return fixed


def _signature(node: Any) -> tuple[str, str, tuple[int | str, ...]]:
    """Name, type and shape behind the batch."""
    return node.name, node.type, tuple(node.shape[1:])
