"""From an ONNX file to a plan: the calls of TensorRT's builder, and nothing else.

One way serves TensorRT 10 and 11 and TensorRT-RTX, whose module is an argument: networks
are strongly typed, so that the precision is that of the graph and not a wish that the
builder may ignore. Source: NVIDIA's Python API reference and its 10-to-11 migration guide.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.onnx import INPUT
from toolkit.errors import MismatchError, MissingError, UsageError, VrError


@dataclass(frozen=True, slots=True)
class Profile:
    """The batches that an engine takes: from `min` to `max` pictures, fastest at `opt`."""

    min: int = 1
    opt: int = 32
    max: int = 128

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise UsageError(
                f"A batch profile of {self.min}/{self.opt}/{self.max} cannot be built.",
                mend="Give min/opt/max with 1 <= min <= opt <= max, such as 1/32/128.",
            )


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to build: size is the input's (height, width) in pixels.

    workspace_bytes: scratch memory on the GPU, None for all of it; timing_cache: what an
    earlier build measured, None where the flavour of TensorRT keeps none.
    """

    onnx: Path
    size: tuple[int, int]
    profile: Profile
    workspace_bytes: int | None = None
    timing_cache: bytes | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialized engine, and the timing cache after its build."""

    content: bytes
    timing_cache: bytes | None


def build_plan(trt: ModuleType, request: PlanRequest) -> Plan:
    """Build with `trt`, the module tensorrt or tensorrt_rtx.

    Raises MissingError when the builder cannot start, MismatchError for a file that the
    parser refuses, VrError when no engine comes out.
    """
    logger = _make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what pybind11 makes of a null pointer: no usable GPU
        raise MissingError(
            f"TensorRT cannot start: {logger.summary()}",
            mend="Check the NVIDIA driver (nvidia-smi); it must serve the CUDA of TensorRT.",
        ) from error
    network = builder.create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # the only kind since 11
    )
    _parse(trt, network, logger, request.onnx)
    config = _configure(trt, builder, request)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise VrError(
            f"TensorRT built no engine of {request.onnx}: {logger.summary()}",
            mend="A smaller maximal batch or a larger workspace may help.",
        )
    return Plan(bytes(serialized), _read_timing_cache(config, request))


def _make_logger(trt: ModuleType) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # known at run time
        """Keeps the errors for the message; TensorRT's own logger would print them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message.strip())

        def summary(self) -> str:
            return " ".join(self.errors[:3]) or "it gives no reason."

    return Logger()


def _parse(trt: ModuleType, network: Any, logger: Any, onnx: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(onnx)):
        return
    reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
    raise MismatchError(
        f"TensorRT cannot read {onnx}: {reasons or logger.summary()}",
        mend="Copy the whole bundle again, or export it again with `vr export`.",
    )


def _configure(trt: ModuleType, builder: Any, request: PlanRequest) -> Any:
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    batches = (request.profile.min, request.profile.opt, request.profile.max)
    profile.set_shape(INPUT, *((batch, *request.size, 3) for batch in batches))
    config.add_optimization_profile(profile)
    # fp32 shall mean fp32: by default matrices would be multiplied with a 10-bit mantissa.
    config.clear_flag(trt.BuilderFlag.TF32)
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if request.timing_cache is not None:
        _use_timing_cache(config, request.timing_cache)
    return config


def _use_timing_cache(config: Any, content: bytes) -> None:
    """Take over what was measured before; a cache of another GPU or version starts anew."""
    if not config.set_timing_cache(config.create_timing_cache(content), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _read_timing_cache(config: Any, request: PlanRequest) -> bytes | None:
    if request.timing_cache is None:
        return None
    return bytes(config.get_timing_cache().serialize())
