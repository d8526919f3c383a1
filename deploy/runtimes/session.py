"""A session of ONNX Runtime: on the device that was asked for, or an error; never elsewhere."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.cpu_graph.kept import cpu_graph
from deploy.onnx.make import INPUT, OUTPUT
from deploy.onnx.weights import OtherFileError, without_weights
from deploy.runtimes.cores import usable_cores
from toolkit.caffe.wire import WireError
from toolkit.errors import MismatchError, MissingError, UsageError, VrError
from toolkit.machine.cpu import read_cpu
from toolkit.machine.cuda import list_gpus
from toolkit.optional import remedy, require

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_FATAL = 4  # the log level: what fails is raised, and what is only noted is not for users
_LONGEST_VALUE = 2048  # bytes of an entry of the session's settings
# Repacking the weights costs reading and copying them all; not repacking costs a little each
# time, and much in int8. Files that are no larger are repacked soon enough.
_LARGE_BYTES = 64 * 2**20
_NOT_WHOLE = b""  # in the place of a graph: an error could not leave while the file is mapped
_QUANTIZED = b"QuantizeLinear"  # the kind of a node, as an int8 graph has it

# TF32 would round what the graph says is float32. The exhaustive search for algorithms, the
# default, times all of them again for every new number of pictures.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How to open a session.

    device: "cpu", "cuda", or "auto" for CUDA where it really works. threads: on the CPU,
    None for as many as this process may use. quick: for a few pictures, on the CPU: the
    weights of a large model are used as they lie in the file, not repacked, which opens it
    many times faster and then embeds a little slower.

    On the CPU the weights are mapped: the file must not be written to meanwhile. `vr export`
    puts another in its place.
    """

    device: str = "auto"
    threads: int | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"There is no device {self.device!r}.", mend="Use auto, cpu or cuda.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads cannot run anything.", mend="Use 1 or more.")


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session and the device it runs on, "cpu" or "cuda"."""

    session: Any
    device: str


def open_session(onnx: Path, settings: SessionSettings) -> OpenSession:
    """Open an ONNX file.

    Raises MissingError when ONNX Runtime or the CUDA asked for cannot be had, MismatchError
    when it is no file that ONNX Runtime can run.
    """
    ort = require("onnxruntime")
    ort.disable_telemetry_events()
    device = _choose_device(ort, settings.device)
    session = _open(ort, onnx, device, settings)
    if device == "cuda" and CUDA not in session.get_providers():
        if settings.device == "cuda":
            raise _no_cuda("ONNX Runtime could not load its CUDA provider")
        device = "cpu"  # `auto`: the session has fallen back, and `runtime` says so
    return OpenSession(session, device)


def _choose_device(ort: ModuleType, asked: str) -> str:
    """What to try, "cpu" or "cuda", before a session is made."""
    if asked == "cpu":
        return "cpu"
    if CUDA not in ort.get_available_providers():
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
        mend=remedy(
            "onnxruntime",
            "Use --device cpu, or a machine with an NVIDIA GPU, its driver and the extra gpu "
            "in place of the extra cpu: pip uninstall onnxruntime, then "
            "pip install 'vr-toolkit[gpu]'.",
        ),
    )


def _open(ort: ModuleType, onnx: Path, device: str, settings: SessionSettings) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = settings.threads or usable_cores()
    # Threads that spin between two layers are there at once; those that go on spinning after a
    # run eat up a container's quota and the cores of others.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model: str | bytes | None = None
    if device == "cpu":
        if not read_cpu().features.get("VNNI", False):
            # There the fast kernels for uint8 times int8 add in 16 bits, which overflow.
            options.add_session_config_entry("session.x64quantprecision", "1")
        model = _mapped(options, onnx, quick=settings.quick)
    providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU] if device == "cuda" else [CPU]
    # The package's own way of falling back prints to the standard output, and says no more.
    own_fallback = {} if device == "cuda" else {"enable_fallback": 0}
    try:
        return ort.InferenceSession(
            model or str(onnx), options, providers=providers, **own_fallback
        )
    except _foreign(ort) as error:
        raise MismatchError(
            f"{onnx} is no ONNX file that ONNX Runtime {ort.__version__} can run: {error}",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        ) from error


def run_session(
    session: Any, images: NDArray[np.uint8], output: str = OUTPUT
) -> NDArray[np.float32]:
    """The embeddings, or another output, that a session gives for uint8 pictures.

    Raises VrError where ONNX Runtime cannot do what the graph says.
    """
    ort = require("onnxruntime")
    state = ort.capi.onnxruntime_pybind11_state
    try:
        found: NDArray[np.float32] = session.run([output], {INPUT: images})[0]
    except (*_foreign(ort), state.RuntimeException, state.EPFail) as error:
        raise VrError(
            f"ONNX Runtime {ort.__version__} could not run the network: {error}",
            mend="Repeat the proof of the bundle: vr export --verify BUNDLE. Where memory ran "
            "out, free some, or use --device cpu.",
        ) from error
    return found


def _mapped(options: Any, onnx: Path, *, quick: bool) -> bytes | None:
    """The graph in the CPU's form with its weights left in the file; None where that cannot be."""
    file = onnx.resolve()
    folder = str(file.parent)
    # The bundle itself may be named by a path from a folder of any name.
    if not _is_text(folder) or len(folder.encode()) > _LONGEST_VALUE:
        return None
    if file.stat().st_size == 0:  # cannot be mapped
        return None
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        graph = _graph_of(memoryview(whole), file.name)
    if graph is None:
        return None
    if graph == _NOT_WHOLE:
        raise MismatchError(
            f"{onnx} takes weights from another file, which no hash of the bundle covers.",
            mend="Export the bundle again with `vr export`: its graphs hold all their weights.",
        )
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    if quick and file.stat().st_size >= _LARGE_BYTES:
        options.add_session_config_entry("session.disable_prepacking", "1")
    # What int8 clips differs between the two forms, and the proof was made with the CPU's.
    make = not quick or _QUANTIZED in graph
    return cpu_graph(onnx, graph, make=make)


def _graph_of(content: memoryview, name: str) -> bytes | None:
    try:
        return without_weights(content, name)
    except WireError:  # ONNX Runtime will say what is wrong with it
        return None
    except OtherFileError:
        return _NOT_WHOLE


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _foreign(ort: ModuleType) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for files that it cannot run."""
    state = ort.capi.onnxruntime_pybind11_state
    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        UnicodeDecodeError,  # of a message that quotes a damaged name
    )
