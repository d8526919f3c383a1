"""From an ONNX file to a plan: the calls of TensorRT's builder, and nothing else.

One way serves TensorRT 10 and 11 and TensorRT-RTX, whose module is an argument: networks
are strongly typed, so that the precision is that of the graph and not a wish that the
builder may ignore. Source: NVIDIA's Python API reference and its 10-to-11 migration guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.onnx.make import INPUT, OUTPUT
from deploy.proof.parity import Precision
from deploy.tensorrt.layers import check_precision, count_precisions
from deploy.tensorrt.logger import make_logger
from deploy.tensorrt.settings import Profile
from deploy.tensorrt.timing import merge_timings, take_timings
from toolkit.errors import MismatchError, MissingError, VrError


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to build.

    workspace_bytes: scratch memory on the GPU, None for all of it; timings: the file of the
    timing cache, None where the flavour of TensorRT keeps none.
    """

    onnx: Path
    precision: Precision
    profile: Profile
    workspace_bytes: int | None = None
    timings: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialized engine.

    layers: how many of those that multiply are of which precision; timings: the timing cache
    after the build, empty where there is none.
    """

    content: bytes
    layers: Mapping[str, int]
    timings: bytes = b""


def build_plan(trt: ModuleType, request: PlanRequest) -> Plan:
    """Build with `trt`, the module tensorrt or tensorrt_rtx.

    Raises MissingError when the builder cannot start, MismatchError for a file that the
    parser refuses, QualityGateError for a graph of another precision than it is said to be,
    VrError when no engine comes out.
    """
    logger = make_logger(trt)
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
    # As long as the network is used: the weights of its layers lie in the parser's memory.
    parser = _parse(trt, network, logger, request.onnx)
    _check_signature(trt, network, request.onnx)
    layers = count_precisions(trt, network)
    check_precision(layers, request.precision, request.onnx)
    config = _configure(trt, builder, network, request)
    taken = take_timings(config, request.timings) if request.timings else b""
    serialized = builder.build_serialized_network(network, config)
    del parser
    if serialized is None:
        raise VrError(
            f"TensorRT built no engine of {request.onnx}: {logger.summary()}",
            mend="A smaller maximal batch or a larger workspace may help.",
        )
    timings = merge_timings(config, request.timings, taken) if request.timings else b""
    return Plan(bytes(serialized), layers, timings)


def _parse(trt: ModuleType, network: Any, logger: Any, onnx: Path) -> Any:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(onnx)):
        return parser
    reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
    raise MismatchError(
        f"TensorRT cannot read {onnx}: {reasons or logger.summary()}",
        mend="Copy the whole bundle again, or export it again with `vr export`.",
    )


def _check_signature(trt: ModuleType, network: Any, onnx: Path) -> None:
    """Refuse other graphs, and the empty one that the parser makes of some other files."""
    found = [
        (tensor.name, tensor.dtype, len(tensor.shape))
        for tensor in (
            *(network.get_input(i) for i in range(network.num_inputs)),
            *(network.get_output(i) for i in range(network.num_outputs)),
        )
    ]
    if found != [(INPUT, trt.DataType.UINT8, 4), (OUTPUT, trt.DataType.FLOAT, 2)]:
        raise MismatchError(
            f"{onnx} takes and gives {found}: it is no export of an embedding network.",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        )


def _configure(trt: ModuleType, builder: Any, network: Any, request: PlanRequest) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that it can be inspected
    batch, *size = network.get_input(0).shape
    if batch == -1:
        profile = builder.create_optimization_profile()
        batches = (request.profile.min, request.profile.opt, request.profile.max)
        profile.set_shape(INPUT, *((one, *size) for one in batches))
        config.add_optimization_profile(profile)
    # fp32 shall mean fp32: by default matrices would be multiplied with a 10-bit mantissa.
    config.clear_flag(trt.BuilderFlag.TF32)
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    return config
