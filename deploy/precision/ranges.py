"""How large the numbers inside a graph become on given pictures, without keeping them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.precision.thresholds import BINS, Histogram
from toolkit.errors import InputError
from toolkit.optional import require

if TYPE_CHECKING:
    from onnx import ModelProto

Progress = Callable[[int, int], None]  # patches done, patches in all

_INPUT, _OUTPUT = "images", "embeddings"
# All values asked for are in memory at once for so many pictures: 40 MB for AlexNet.
_BATCH = 8
_NOTHING = 1e-30  # below this a peak is zero: its steps would be no float32


class Probe:
    """Runs a graph on the CPU and shows what lies between its nodes; `with` frees it."""

    def __init__(self, model: "ModelProto", values: Sequence[str] = ()) -> None:
        ort = require("onnxruntime")
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = _usable_cores()
        self._values = list(dict.fromkeys(values))
        content = _showing(model, self._values)
        self._session: Any = ort.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        batch = self._session.get_inputs()[0].shape[0]
        self._batch = batch if isinstance(batch, int) else None

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, height, width, 3), N at least 1, to float32 (N, dim)."""
        parts = [self._run([_OUTPUT], part)[0][:kept] for part, kept in self._parts(images)]
        return np.concatenate(parts)

    def show(self, images: NDArray[np.uint8]) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
        """The values asked for, of a few pictures at a time; how many were done with them."""
        done = 0
        for part, kept in self._parts(images):
            done += kept
            yield done, self._run(self._values, part)

    def _run(self, names: list[str], part: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = self._session.run(names, {_INPUT: part})
        return found

    def _parts(self, images: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Pieces of the size that the graph takes; the last is filled up with its own first."""
        step = self._batch or _BATCH
        for start in range(0, len(images), step):
            part = np.ascontiguousarray(images[start : start + step])
            kept = len(part)
            if self._batch:
                part = np.resize(part, (self._batch, *part.shape[1:]))
            yield part, kept


def measure_peaks(
    model: "ModelProto", values: Sequence[str], images: NDArray[np.uint8]
) -> dict[str, float]:
    """The greatest absolute number of each value; infinity where one is no number.

    images: uint8 (N, height, width, 3) of the graph's input size.
    """
    return _peaks(Probe(model, values), values, images)


def measure_histograms(
    model: "ModelProto",
    values: Sequence[str],
    images: NDArray[np.uint8],
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """The histogram of the absolute numbers of each value, from 0 to its peak.

    Memory: the values of 8 pictures, and 16 KB a value. The pictures go through twice, for
    the peaks and for the counts. Raises InputError where a value is not finite.
    """
    probe = Probe(model, values)
    peaks = _peaks(probe, values, images)
    _check_finite(peaks)
    counts = {value: np.zeros(BINS, np.int64) for value in peaks}
    for done, shown in probe.show(images):
        for value, numbers in zip(counts, shown, strict=True):
            counts[value] += _count(numbers, peaks[value])
        if progress is not None:
            progress(done, len(images))
    return {value: Histogram(counts[value], peaks[value]) for value in counts}


def _peaks(probe: Probe, values: Sequence[str], images: NDArray[np.uint8]) -> dict[str, float]:
    peaks = dict.fromkeys(values, 0.0)
    for _, shown in probe.show(images):
        for value, numbers in zip(peaks, shown, strict=True):
            peak = float(np.abs(numbers).max(initial=0))  # NaN where there is one
            peaks[value] = max(peaks[value], peak if np.isfinite(peak) else np.inf)
    return peaks


def _count(numbers: NDArray[np.float32], peak: float) -> NDArray[np.int64]:
    if peak < _NOTHING:
        return np.zeros(BINS, np.int64)
    places = np.abs(numbers).reshape(-1)
    places *= BINS / peak
    bins = np.minimum(places.astype(np.int32), BINS - 1)
    return np.bincount(bins, minlength=BINS).astype(np.int64)


def _check_finite(peaks: Mapping[str, float]) -> None:
    broken = [value for value, peak in peaks.items() if not np.isfinite(peak)]
    if broken:
        raise InputError(
            f"The network gives numbers that are not finite at {broken[0]}, even in float32.",
            mend="It cannot be quantised; check its training (vr eval), or export another run.",
        )


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _showing(model: "ModelProto", values: Sequence[str]) -> bytes:
    """The graph with these values among its results."""
    import onnx

    given = {value.name for value in model.graph.output}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in values:
        if value not in given:
            changed.graph.output.append(
                onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)
            )
    return bytes(changed.SerializeToString())
