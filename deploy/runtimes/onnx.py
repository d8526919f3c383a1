"""The Embedder that runs a bundle with ONNX Runtime. It never imports torch."""

import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.cuda import list_gpus
from deploy.onnx import INPUT, OUTPUT
from toolkit.embedding import Embeddings
from toolkit.errors import MismatchError, MissingError, UsageError
from toolkit.model_card import ModelCard
from toolkit.optional import require

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_CHUNK = {"cpu": 32, "cuda": 256}  # pictures at a time: past this memory grows and speed does not
_FATAL = 4  # the log level: what fails is raised, and what is only noted is not for users


class OnnxEmbedder:
    """Runs a bundle on the CPU or CUDA; many threads may share one object.

    device: "cpu", "cuda", or "auto" for CUDA where it really works. threads: on the CPU,
    None for as many as this process may use.

    Raises MissingError when ONNX Runtime or the CUDA asked for cannot be had, UsageError for
    another device or fewer than one thread, MismatchError when model.onnx is no embedding
    network or not that of the card.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot run anything.", mend="Use 1 or more.")
        ort = require("onnxruntime")
        ort.disable_telemetry_events()
        self._device = _choose_device(ort, device)
        self._session = _open_session(ort, bundle, self._device, threads)
        if self._device == "cuda" and _CUDA not in self._session.get_providers():
            if device == "cuda":
                raise _no_cuda("ONNX Runtime could not load its CUDA provider")
            self._device = "cpu"  # `auto`: the session has fallen back, and `runtime` says so
        self._card = bundle.card
        _check_session(self._session, bundle)

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

        Raises ValueError for another dtype or shape.
        """
        spec = self._card.preprocessing
        expected = (spec.height, spec.width, 3)
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise ValueError(
                f"images must be uint8 (N, {spec.height}, {spec.width}, 3), "
                f"not {images.dtype} {images.shape}; fit them with card.preprocessing.fit_batch"
            )
        embeddings = np.empty((len(images), self._card.dim), np.float32)
        step = _CHUNK[self._device]
        for start in range(0, len(images), step):
            chunk = np.ascontiguousarray(images[start : start + step])
            embeddings[start : start + step] = self._session.run([OUTPUT], {INPUT: chunk})[0]
        return embeddings

    def close(self) -> None:
        """Free the session and its memory."""
        self._session = None


def _choose_device(ort: ModuleType, asked: str) -> str:
    """What to try, "cpu" or "cuda", before a session is made."""
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device {asked!r}.", mend="Use auto, cpu or cuda.")
    if asked == "cpu":
        return "cpu"
    if _CUDA not in ort.get_available_providers():
        lack = f"this ONNX Runtime ({ort.__version__}) has no CUDA in it"
    elif not list_gpus():
        lack = "the driver shows no NVIDIA GPU"
    else:
        return "cuda"
    if asked == "cuda":
        raise _no_cuda(lack)
    return "cpu"


def _no_cuda(lack: str) -> MissingError:
    return MissingError(
        f"--device cuda cannot be had: {lack}.",
        mend="Use --device cpu, or a machine with an NVIDIA GPU, its driver and the extra gpu "
        "in place of the extra cpu: pip uninstall onnxruntime, then "
        "pip install 'vr-toolkit[gpu]'.",
    )


def _open_session(ort: ModuleType, bundle: Bundle, device: str, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or _usable_cores()
    providers = [_CUDA, _CPU] if device == "cuda" else [_CPU]
    state = ort.capi.onnxruntime_pybind11_state
    foreign = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
    )
    try:
        return ort.InferenceSession(str(bundle.onnx), options, providers=providers)
    except foreign as error:
        raise MismatchError(
            f"{bundle.onnx} is no ONNX file that ONNX Runtime {ort.__version__} can run: {error}",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        ) from error


def _usable_cores() -> int:
    # ONNX Runtime by itself takes every core of the machine, even where a container or
    # taskset leaves this process only a few of them.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_session(session: Any, bundle: Bundle) -> None:
    """Compare the graph's own signature and fingerprint with the card's."""
    card = bundle.card
    spec = card.preprocessing
    found = [_signature(node) for node in (*session.get_inputs(), *session.get_outputs())]
    wanted = [
        (INPUT, "tensor(uint8)", (spec.height, spec.width, 3)),
        (OUTPUT, "tensor(float)", (card.dim,)),
    ]
    if found != wanted:
        raise MismatchError(
            f"{bundle.onnx} takes and gives {found}, not {wanted}: it is no export of this network."
        )
    inside = session.get_modelmeta().custom_metadata_map.get("fingerprint")
    if inside != card.fingerprint:
        raise MismatchError(
            f"{bundle.onnx} was exported from another network than its model.json describes.",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        )


def _signature(node: Any) -> tuple[str, str, tuple[int | str, ...]]:
    """Name, type and shape behind the batch."""
    return node.name, node.type, tuple(node.shape[1:])
