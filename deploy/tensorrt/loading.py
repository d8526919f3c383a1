"""From a plan to an engine that can run: only where there is a GPU."""

from types import ModuleType
from typing import Any

from deploy.onnx.make import INPUT
from deploy.tensorrt.files import REBUILD
from deploy.tensorrt.logger import make_logger
from toolkit.errors import MismatchError, VrError

NO_MEMORY = (
    "Free some (nvidia-smi shows who uses it), or build the engine for a smaller maximal batch."
)


def load_engine(trt: ModuleType, plan: bytes, name: str) -> tuple[Any, Any, Any]:
    """Deserialize a plan: engine, runtime and logger, which have to live as long as it.

    name: of the plan, for the message. Raises MismatchError for what this TensorRT does not
    take: another version's, another GPU's, or no plan at all.
    """
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise MismatchError(
            f"{name} is no engine that TensorRT {trt.__version__} can load on this GPU: "
            f"{logger.summary()}",
            mend=REBUILD,
        )
    return engine, runtime, logger


def make_context(engine: Any) -> Any:
    """What runs an engine. Raises VrError where the GPU has no memory for it."""
    context = engine.create_execution_context()
    if context is None:
        raise VrError("The GPU has no memory left for the engine.", mend=NO_MEMORY)
    return context


def describe_engine(trt: ModuleType, plan: bytes, batch: int) -> str:
    """What an engine says of its layers for that batch, as JSON. Raises MismatchError."""
    engine, _runtime, _logger = load_engine(trt, plan, "what was built")
    context = make_context(engine)
    # Where shapes are not known, the inspector gives no types.
    context.set_input_shape(INPUT, (batch, *tuple(engine.get_tensor_shape(INPUT))[1:]))
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
