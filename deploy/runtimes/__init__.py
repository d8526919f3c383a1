"""What runs a network, behind toolkit.embedding.Embedder: chosen by name, or automatically."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

from deploy.bundle import ONNX_NAME, read_bundle
from deploy.runtimes.session import SessionSettings, open_session
from toolkit.drafts import recover
from toolkit.embedding import Embedder
from toolkit.errors import UsageError
from toolkit.machine.cuda import list_gpus
from toolkit.workspace import storage_errors

Runtime = Literal["auto", "onnx", "torch", "tensorrt"]


def open_embedder(
    model: Path,
    runtime: Runtime = "auto",
    device: str = "auto",
    threads: int | None = None,
    *,
    quick: bool = False,
) -> Embedder:
    """Open a bundle (ONNX Runtime, TensorRT) or a run (torch) as an embedder.

    `auto` takes torch for the folder of a run; for a bundle TensorRT where one of its
    engines fits this machine and the CPU was not asked for, else ONNX Runtime. The
    embedder's `runtime` says what it became. threads: on the CPU, None for every core that
    this process may use. quick: for a few pictures, see `SessionSettings`.

    Raises UsageError for a runtime that cannot open such a folder, MissingError when what
    was asked for is not on this machine, InputError where there is no model, MismatchError
    for damaged files.
    """
    settings = SessionSettings(device, threads, quick)  # checks them
    if runtime not in get_args(Runtime):
        raise UsageError(
            f"There is no runtime {runtime!r}.", mend="Use auto, onnx, torch or tensorrt."
        )
    with storage_errors(model):
        recover(model)
    is_run = not (model / ONNX_NAME).is_file() and (model / "model.safetensors").is_file()
    if runtime == "torch" or (runtime == "auto" and is_run):
        return _open_torch(model, settings)
    if is_run:
        raise UsageError(
            f"{model} is a run; the runtime {runtime} opens bundles.",
            mend="Export it first with `vr export`, or use --runtime torch.",
        )
    if runtime == "tensorrt":
        return _open_tensorrt(model, device)
    return _open_fitting_engine(model, runtime, device) or _open_onnx(model, settings)


def _open_torch(model: Path, settings: SessionSettings) -> Embedder:
    if not (model / "model.safetensors").is_file():
        raise UsageError(
            f"The runtime torch opens runs, and {model} holds no model.safetensors.",
            mend="Name the run it was exported from (such as runs/latest), or use --runtime onnx.",
        )
    from toolkit.embedding_torch import TorchEmbedder

    return TorchEmbedder.open(model, settings.device, settings.threads)


def _open_tensorrt(model: Path, device: str) -> Embedder:
    if device == "cpu":
        raise UsageError(
            "The runtime tensorrt runs on NVIDIA GPUs and not on the CPU.",
            mend="Leave --device cpu out, or use --runtime onnx.",
        )
    from deploy.runtimes.tensorrt import TensorRtEmbedder

    return TensorRtEmbedder(read_bundle(model))


def _open_fitting_engine(model: Path, runtime: Runtime, device: str) -> Embedder | None:
    if runtime != "auto" or device == "cpu" or not list_gpus():
        return None
    from deploy.tensorrt import lookup

    bundle = read_bundle(model)
    engine = lookup(bundle)
    if engine is None:
        return None
    from deploy.runtimes.tensorrt import TensorRtEmbedder

    return TensorRtEmbedder(bundle, engine)


def _open_onnx(model: Path, settings: SessionSettings) -> Embedder:
    """Open a session while the hashes of the bundle are computed; both take their time."""
    from deploy.runtimes.onnx import OnnxEmbedder

    if not (model / ONNX_NAME).is_file():  # a pipe would be waited for
        read_bundle(model)
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(read_bundle, model)
        try:
            opened = open_session(model / ONNX_NAME, settings)
        except Exception:
            checking.result()  # what is wrong with the bundle explains the rest
            raise
        return OnnxEmbedder(checking.result(), opened=opened)
