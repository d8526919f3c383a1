"""Precision lives in the graph: the same file gives the same numbers in every runtime."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploy.precision.calibration import Calibration, calibration_patches
from deploy.precision.ranges import Progress, measure_peaks
from deploy.proof.parity import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Calibration", "Converted", "Progress", "calibration_patches", "convert"]

_LOOKED_AT = 32  # patches on which float16 is searched for overflow


@dataclass(frozen=True, slots=True)
class Converted:
    """A graph, and how it came to its precision, as it stands in model.json."""

    model: "ModelProto"
    note: Mapping[str, Any] = field(default_factory=dict)


def convert(
    model: "ModelProto",
    precision: Precision,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Converted:
    """The graph in another precision; signature and metadata stay as they are.

    model: in float32, with its shapes inferred; it is not changed. calibration: int8 needs it;
    fp16 looks at some of it for what float16 cannot hold. progress: told how many of how
    many patches are done. The same arguments give the same bytes.

    Raises InputError where the network gives no finite numbers, MissingError without ONNX
    Runtime, MismatchError where no layer can run in int8.
    """
    if precision == "fp32":
        return Converted(model)
    if precision == "fp16":
        return _to_fp16(model, calibration)
    if calibration is None:
        raise ValueError("int8 needs patches to take its ranges from")
    from deploy.precision.int8 import to_int8

    return Converted(*to_int8(model, calibration, progress))


def _to_fp16(model: "ModelProto", calibration: Calibration | None) -> Converted:
    from deploy.precision.fp16 import float_values, to_fp16

    if calibration is None:
        return Converted(*to_fp16(model))
    images = calibration.images[:_LOOKED_AT]
    return Converted(*to_fp16(model, measure_peaks(model, float_values(model), images)))
