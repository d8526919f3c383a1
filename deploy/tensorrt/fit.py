"""Which engine of a bundle this machine can run."""

from deploy.bundle import Bundle
from deploy.tensorrt.files import REBUILD, EngineFile, engine_files
from deploy.tensorrt.key import ANY_SM
from deploy.tensorrt.machine import RTX_SMS
from toolkit.errors import MismatchError, MissingError
from toolkit.machine.cuda import Gpu, list_gpus
from toolkit.optional import require

_ORDER = ("tensorrt_rtx", "tensorrt")  # the later the better: the second is tuned to this GPU


def lookup(bundle: Bundle) -> EngineFile | None:
    """The engine that `--runtime auto` would run here, None where there is none.

    Cheap: the driver is asked first, and no package is imported before an engine for this
    GPU has been found.
    """
    gpus = list_gpus()
    if not gpus:
        return None
    try:
        return _best([one for one in engine_files(bundle) if not _lack(one, bundle, gpus[0])])
    except MissingError:  # engines are there, but nothing that runs them
        return None


def choose_engine(bundle: Bundle) -> EngineFile:
    """The engine to run here, because it was asked for.

    Raises MissingError without a GPU, an engine or the package, MismatchError where the
    engines are of another GPU, TensorRT or ONNX file.
    """
    gpus = list_gpus()
    if not gpus:
        raise MissingError(
            "Running TensorRT engines needs an NVIDIA GPU, and this machine shows none.",
            mend="Use --runtime onnx, or a machine with an NVIDIA GPU and its driver.",
        )
    engines = engine_files(bundle)
    if not engines:
        raise MissingError(
            f"The bundle {bundle.folder} holds no TensorRT engine.",
            mend="Build one on this machine with `vr export --trt`, or use --runtime onnx.",
        )
    judged = [(engine, _lack(engine, bundle, gpus[0])) for engine in engines]
    chosen = _best([engine for engine, lack in judged if not lack])
    if chosen is None:
        reasons = " ".join(f"{engine.path.name} {lack}." for engine, lack in judged)
        raise MismatchError(
            f"No engine of {bundle.folder} fits this machine. {reasons}",
            mend=f"{REBUILD} Or use --runtime onnx.",
        )
    return chosen


def _best(engines: list[EngineFile]) -> EngineFile | None:
    def rank(engine: EngineFile) -> tuple[int, int, int]:
        key = engine.key
        return _ORDER.index(key.target), key.profile.opt, key.profile.max

    return max(engines, key=rank, default=None)


def _lack(engine: EngineFile, bundle: Bundle, gpu: Gpu) -> str:
    """Why this machine cannot run an engine; the package is asked last, as importing is slow."""
    return _misfit(engine, bundle, gpu) or _misversion(engine)


def _misfit(engine: EngineFile, bundle: Bundle, gpu: Gpu) -> str:
    """Why an engine is not for this bundle on this GPU; empty where it is."""
    key = engine.key
    if key.onnx_sha256 != bundle.onnx_sha256:
        return "was built of another ONNX file"
    here = f"this machine has {gpu.name} ({gpu.sm})"
    if key.sm == ANY_SM:
        return "" if gpu.sm in RTX_SMS else f"is for RTX GPUs; {here}"
    if (key.sm, key.gpu) != (gpu.sm, gpu.name):
        return f"is for {key.gpu} ({key.sm}); {here}"
    return ""


def _misversion(engine: EngineFile) -> str:
    """Why the TensorRT of this machine does not take it; raises MissingError without any."""
    here = str(require(engine.key.target).__version__)
    if engine.key.version != here:
        return f"is of {engine.key.target} {engine.key.version}; this machine has {here}"
    return ""
