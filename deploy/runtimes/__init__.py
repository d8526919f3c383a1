"""What runs a network, behind toolkit.embedding.Embedder: chosen by name, or automatically."""

from pathlib import Path
from typing import Literal

from deploy.bundle import ONNX_NAME, read_bundle
from toolkit.embedding import Embedder
from toolkit.errors import MissingError, UsageError

Runtime = Literal["auto", "onnx", "torch", "tensorrt"]


def open_embedder(
    model: Path, runtime: Runtime = "auto", device: str = "auto", threads: int | None = None
) -> Embedder:
    """Open a bundle (ONNX Runtime) or a run (torch) as an embedder.

    `auto` takes torch for the folder of a run and ONNX Runtime for a bundle; the embedder's
    `runtime` says what it became. threads: of ONNX Runtime on the CPU, None for every core.

    Raises UsageError for a runtime that cannot open such a folder, MissingError when what
    was asked for is not on this machine, MismatchError for damaged files.
    """
    is_run = not (model / ONNX_NAME).is_file() and (model / "model.safetensors").is_file()
    chosen = ("torch" if is_run else "onnx") if runtime == "auto" else runtime
    if chosen == "torch":
        return _open_torch(model, device)
    if is_run:
        raise UsageError(
            f"{model} is a run; the runtime {chosen} opens bundles.",
            mend="Export it first with `vr export`, or use --runtime torch.",
        )
    if chosen == "tensorrt":
        raise MissingError(
            "This version of vr builds TensorRT engines and does not run them yet.",
            mend="Use --runtime onnx; trtexec and Triton load the engines of the bundle.",
        )
    if chosen != "onnx":
        raise UsageError(
            f"There is no runtime {chosen!r}.", mend="Use auto, onnx, torch or tensorrt."
        )
    from deploy.runtimes.onnx import OnnxEmbedder

    return OnnxEmbedder(read_bundle(model), device, threads)


def _open_torch(model: Path, device: str) -> Embedder:
    if not (model / "model.safetensors").is_file():
        raise UsageError(
            f"The runtime torch opens runs, and {model} holds no model.safetensors.",
            mend="Name the run it was exported from (such as runs/latest), or use --runtime onnx.",
        )
    from toolkit.embedding_torch import TorchEmbedder

    return TorchEmbedder.open(model, device)
