"""Single frames of a video by the second: what a player shows at that moment."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.images import RgbImage
from toolkit.video.decode import Decoder
from toolkit.video.frame import Frame

Moment = tuple[float, RgbImage]  # PTS seconds of the frame, and its picture

_TOLERANCE_S = 1e-3  # as frame_at has it: clocks of 90 kHz and of milliseconds meet
_USUAL_STEP_S = 0.04  # from frame to frame, where the file does not say


def moment_of(path: Path, time_s: float) -> Moment:
    """The frame on display at `time_s`, uint8 RGB, with its own PTS seconds.

    It is the last one at or before that time. Raises VideoError for what is no video, and for
    a time before its first frame or after the last one is over.
    """
    (found,) = moments_of(path, [time_s])
    if found is None:
        raise VideoError(
            f"{path} has no frame at {time_s:.2f} s.", mend=_span(path) or "Give a time inside it."
        )
    return found


def moments_of(path: Path, times_s: Sequence[float]) -> list[Moment | None]:
    """The frames on display at rising times, decoded in one pass from the first on.

    None for a time before the first frame or after the last one is over. Raises VideoError
    for what is no video.
    """
    if not times_s:
        return []
    found, first_s = _decoded(path, times_s, seek=True)
    if first_s is None or first_s > times_s[0] + _TOLERANCE_S:
        # Some files tell their key frames wrongly.
        found, _ = _decoded(path, times_s, seek=False)
    return found


def _decoded(
    path: Path, times_s: Sequence[float], *, seek: bool
) -> tuple[list[Moment | None], float | None]:
    """The frames, and the time of the first one that was decoded."""
    found: list[Moment | None] = []
    shown: Frame | None = None
    first_s: float | None = None
    with Decoder(path) as decoder:
        step_s = 1 / (decoder.frames_per_second or 1 / _USUAL_STEP_S)
        for frame in decoder.decode_near(times_s[0]) if seek else decoder.decode():
            first_s = frame.time_s if first_s is None else first_s
            while len(found) < len(times_s) and frame.time_s > times_s[len(found)] + _TOLERANCE_S:
                found.append(_moment(shown))
            if len(found) == len(times_s):
                return found, first_s
            if shown is not None:
                step_s = max(frame.time_s - shown.time_s, 0.0) or step_s
            shown = frame
        for time_s in times_s[len(found) :]:
            is_over = shown is None or time_s >= shown.time_s + step_s + _TOLERANCE_S
            found.append(None if is_over else _moment(shown))
    return found, first_s


def _moment(frame: Frame | None) -> Moment | None:
    return None if frame is None else (frame.time_s, frame.rgb())


def _span(path: Path) -> str:
    """From when to when a video goes, for people."""
    from toolkit.video.timeline import read_timeline

    timeline = read_timeline(path)
    return f"Give a time from {timeline.start_s:.2f} to {timeline.end_s:.2f} s."
