"""What this machine has for building and running engines: the package, its CUDA and the GPU."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from deploy.bundle import Bundle
from deploy.tensorrt.settings import Target
from toolkit.errors import MissingError
from toolkit.machine.cuda import Gpu, list_gpus
from toolkit.optional import require

# The engines that TensorRT-RTX builds by default run on these (its support matrix and its
# guide to engines built on a CPU); Turing needs an engine of its own, and data-centre cards
# such as the H200 (SM 90) are not listed.
RTX_SMS = frozenset({"sm80", "sm86", "sm89", "sm120", "sm121"})


@dataclass(frozen=True, slots=True)
class Machine:
    """The module tensorrt or tensorrt_rtx, the CUDA it was built for, and the GPU, if any."""

    trt: ModuleType
    cuda: str
    gpu: Gpu | None

    @property
    def version(self) -> str:
        """Of TensorRT."""
        return str(self.trt.__version__)


def require_builder(target: Target, bundle: Bundle) -> Machine:
    """What is needed to build; raises one MissingError for all that is missing."""
    lacks: list[MissingError] = []
    trt: ModuleType | None = None
    try:
        trt = require(target)
    except MissingError as error:
        lacks.append(error)
    gpu = next(iter(list_gpus()), None)
    if gpu is None and target == "tensorrt":
        lacks.insert(0, _no_gpu())  # without one the package helps nobody
    if trt is None or lacks:
        raise MissingError(
            " ".join(error.problem for error in lacks),
            mend=" ".join(error.mend for error in lacks)
            + f" The ONNX bundle {bundle.folder} is whole, and works without engines.",
        )
    return Machine(trt, cuda_of(target), gpu)


def _no_gpu() -> MissingError:
    return MissingError(
        "Building TensorRT engines needs an NVIDIA GPU, and this machine shows none.",
        mend="Use a machine with an NVIDIA GPU and its driver, or build for RTX GPUs, which "
        "needs none: vr export --trt-rtx.",
    )


def cuda_of(target: Target) -> str:
    """The CUDA that the installed TensorRT was built for, "" where its package does not say."""
    for cuda in ("13", "12"):
        try:
            version(f"{target.replace('_', '-')}-cu{cuda}-bindings")
        except PackageNotFoundError:
            continue
        return cuda
    return ""
