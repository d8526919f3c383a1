"""What a process of its own is asked, so that a package that crashes or hangs harms nothing else.

Each question imports what it is about and answers with a JSON object. `toolkit.machine.probe`
starts the processes; a question that is not in the table is the import of a package.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# An ONNX file of one node, y = -x for one float: all that a provider has to start for.
TINY_ONNX = (
    b'\x08\x08:2\n\x0b\n\x01x\x12\x01y"\x03Neg\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n'
    b"\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
WITHOUT_IT = "ONNX Runtime goes on without it"


def answer(question: str, target: Path) -> None:
    """Write the answer to a question as JSON: `details` and `seconds`, or `problem`."""
    begun = time.perf_counter()
    try:
        details = dict(_ask(question))
        content = {"details": details, "seconds": time.perf_counter() - begun}
    except Exception as error:
        content = {"problem": f"{type(error).__name__}: {error}"}
    target.write_text(json.dumps(content), "utf-8")


def _ask(question: str) -> Mapping[str, Any]:
    name, _, detail = question.partition(":")
    if name == "provider":
        return _load_provider(detail)
    if name in _BY_DRIVER:
        return _BY_DRIVER[name]()
    module = importlib.import_module(name)
    return _QUESTIONS.get(name, _nothing)(module)


def _nothing(module: Any) -> Mapping[str, Any]:  # noqa: ARG001 - the shape of a question
    return {}


def _torch(torch: Any) -> Mapping[str, Any]:
    cuda = bool(torch.cuda.is_available())
    (torch.ones(2, 2) @ torch.ones(2, 2)).sum().item()
    return {
        "cuda": torch.version.cuda,
        "cuda_available": cuda,
        "gpus": torch.cuda.device_count() if cuda else 0,
        "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
        "threads": torch.get_num_threads(),
    }


def _faiss(faiss: Any) -> Mapping[str, Any]:
    import numpy as np

    index = faiss.IndexFlatIP(2)
    index.add(np.eye(2, dtype=np.float32))
    found = index.search(np.eye(2, dtype=np.float32), 1)[1].ravel().tolist()
    if found != [0, 1]:
        raise RuntimeError(f"it finds {found} where [0, 1] is nearest")
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return {"gpus": int(gpus), "options": str(faiss.get_compile_options()).strip()}


def _onnxruntime(onnxruntime: Any) -> Mapping[str, Any]:
    return {"providers": list(onnxruntime.get_available_providers())}


def _pillow(_: Any) -> Mapping[str, Any]:
    from PIL import Image, features

    Image.new("RGB", (2, 2)).resize((4, 4)).tobytes()
    if not features.check("jpg"):
        raise RuntimeError("it was built without JPEG")
    return {}


def _safetensors(_: Any) -> Mapping[str, Any]:
    import safetensors.numpy

    safetensors.numpy.save({})
    return {}


def _load_provider(name: str) -> Mapping[str, Any]:
    """Whether a provider carries a session: one that cannot start only logs, and is left out."""
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(TINY_ONNX, providers=[name])
    if name not in session.get_providers():
        raise RuntimeError(f"it does not start, and {WITHOUT_IT}")
    [result] = session.run(None, {"x": np.ones(1, np.float32)})
    if result.tolist() != [-1.0]:
        raise RuntimeError(f"it computes {result.tolist()} where [-1.0] is right")
    return {}


def _tensorrt(trt: Any) -> Mapping[str, Any]:
    """Whether the builder starts; without a usable GPU TensorRT's does not."""
    errors: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]  # known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                errors.append(message.strip())

    logger = Logger()
    try:
        builder = trt.Builder(logger)
    except TypeError:  # what pybind11 makes of a null pointer
        return {"builds": False, "reason": " ".join(errors[:2])}
    del builder
    return {"builds": True, "reason": ""}


def _gpus() -> Mapping[str, Any]:
    from toolkit.machine.cuda import list_gpus

    gpus = list_gpus()
    return {
        "cuda": gpus[0].driver if gpus else None,
        "gpus": [
            {"name": gpu.name, "sm": gpu.sm, "memory_bytes": gpu.memory_bytes} for gpu in gpus
        ],
    }


def _ffmpeg() -> Mapping[str, Any]:
    """The shared libraries of FFmpeg 4 to 9, of which torchcodec loads one."""
    import ctypes

    found = []
    for release, version in enumerate(range(58, 64), start=4):
        try:
            ctypes.CDLL(f"libavcodec.so.{version}")
        except OSError:
            continue
        found.append(release)
    return {"releases": found}


_QUESTIONS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "torch": _torch,
    "PIL": _pillow,
    "safetensors": _safetensors,
    "faiss": _faiss,
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _tensorrt,
}
_BY_DRIVER: Mapping[str, Callable[[], Mapping[str, Any]]] = {"gpus": _gpus, "ffmpeg": _ffmpeg}


def main(arguments: list[str]) -> None:
    """QUESTION TARGET."""
    answer(arguments[0], Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
