"""Which of a bundle's TensorRT engines Triton can serve."""

import re
from collections.abc import Sequence

from deploy.bundle import Bundle
from deploy.tensorrt.files import REBUILD, EngineFile, engine_files
from deploy.tensorrt.key import EngineKey
from toolkit.errors import MismatchError, UsageError

_TARGET = "tensorrt"  # Triton has no backend for TensorRT-RTX


def served_engines(bundle: Bundle) -> tuple[EngineFile, ...]:
    """For each kind of GPU the engine of the newest TensorRT and, of those, the largest batch.

    Engines of another ONNX file and of TensorRT-RTX are left out. Raises MismatchError for a
    damaged one; UsageError where all engines of a kind of GPU refuse a single picture, which
    Triton may send, or where they are for several GPUs that Triton does not tell apart.
    """
    found = [file for file in engine_files(bundle) if _is_for(file.key, bundle)]
    kinds = sorted({file.key.sm for file in found})
    return tuple(_best([file for file in found if file.key.sm == sm], bundle) for sm in kinds)


def capability(key: EngineKey) -> str:
    """The compute capability of an engine as Triton spells it: "9.0" for sm90."""
    return f"{key.sm[2:-1]}.{key.sm[-1]}"


def _is_for(key: EngineKey, bundle: Bundle) -> bool:
    return (
        key.target == _TARGET
        and key.onnx_sha256 == bundle.onnx_sha256
        and re.fullmatch(r"sm\d{2,3}", key.sm) is not None
    )


def _best(engines: Sequence[EngineFile], bundle: Bundle) -> EngineFile:
    """The one of several for one compute capability."""
    fitting = [file for file in engines if bundle.batch or file.key.profile.min == 1]
    if not fitting:
        raise UsageError(
            f"{engines[0].path} takes no fewer than {engines[0].key.profile.min} pictures, and "
            "Triton may send a single one.",
            mend="Build an engine whose smallest batch is 1.",
        )
    gpus = sorted({file.key.gpu for file in fitting})
    if len(gpus) > 1:
        raise UsageError(
            f"{bundle.engines} holds engines for {' and '.join(gpus)}, which Triton does not tell "
            f"apart: both are {engines[0].key.sm}.",
            mend="Take the engines away that this repository is not for.",
        )
    best = max(fitting, key=lambda file: (_version(file.key), file.key.profile.max))
    if not best.is_whole():
        raise MismatchError(
            f"{best.path} is damaged, or another engine than its JSON describes.", mend=REBUILD
        )
    return best


def _version(key: EngineKey) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", key.version))
