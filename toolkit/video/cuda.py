"""Frames decoded on a GPU by NVDEC, with what the CPU's decoder promises.

At most two batches are on the device at a time: 2 x 4 frames of 3840 x 2160 x 3 bytes are 200 MB,
and a small gray copy of a frame takes another 70 MB while it is made; NVDEC has its own dozen of
frames beside that, and CUDA its context, for each process.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

from toolkit.device import resolve_device
from toolkit.errors import VideoError
from toolkit.video.cuda_frame import CudaFrame, Luma
from toolkit.video.cuda_index import NotOnGpuError, read_index
from toolkit.video.decode import DamagedVideoError, Decoder, frames
from toolkit.video.frame import Frame
from toolkit.video.nvdec import TROUBLE, Reader, first_line, load_torchcodec
from toolkit.video.shown import ShownFrame
from toolkit.video.timeline import Segment

__all__ = ["NotOnGpuError", "cuda_frames"]

_BATCH = 4
_MEND = "What could be read was used; give a whole copy of the file for the rest."


def cuda_frames(
    path: Path, segment: Segment | None = None, *, _device: str = "cuda"
) -> Iterator[ShownFrame]:
    """Every readable frame of the first video stream, or of a segment, in the order of display.

    The frames and times are those of `toolkit.video.decode.frames`, and so are the pictures but
    for rounding. Where the GPU stops at damage, the CPU decodes as far as the next key frame,
    so that no readable frame is lost, and DamagedVideoError is raised at the end; damage that
    the GPU hides in a picture is not noticed.

    Raises MissingError without a GPU, NVDEC or torchcodec; VideoError for a file that cannot be
    read; before the first frame NotOnGpuError, a VideoError, for one that only the CPU decodes.
    """
    if _device == "cuda":
        resolve_device(_device)
    load_torchcodec()
    yield from _Pass(path, segment or Segment(0), _device).frames()


class _Pass:
    """One pass over a segment: where it is in the order of display, and what was damaged."""

    def __init__(self, path: Path, segment: Segment, device: str) -> None:
        self._path = path
        self._segment = segment
        self._device = device
        self._luma = self._first_luma()
        self._index = read_index(path, segment)
        self._next = self._index.wanted
        self._last = self._next  # the latest frame that was decoded
        self._damaged = 0

    def _first_luma(self) -> Luma:
        """Read off the first frame by the CPU, whose decoder tells everything about it."""
        with Decoder(self._path) as decoder:
            for frame in decoder.decode(self._segment):
                luma = Luma.of(frame)
                if luma.interlaced and frame.quarter_turns:
                    raise NotOnGpuError(self._path, "it is interlaced and turned")
                return luma
            decoder.raise_for_damage(self._segment)
        raise AssertionError("A segment without a frame raises.")

    def frames(self) -> Iterator[ShownFrame]:
        while not self._at_end:
            failure = yield from self._on_device(_BATCH)
            if failure:  # which of the batch it was, one at a time tells
                failure = yield from self._on_device(1)
            if failure:
                yield from self._on_processor(failure)
        cut = self._index.what_is_cut(self._path, self._segment, self._last)
        if cut:
            raise DamagedVideoError(f"{self._path} {cut}.", mend=_MEND)
        if self._damaged:
            raise DamagedVideoError(
                f"{self._path} is damaged in {self._damaged} places, passed over.", mend=_MEND
            )

    @property
    def _at_end(self) -> bool:
        return self._next >= len(self._index.packets)

    def _on_device(self, most: int) -> Generator[CudaFrame, None, Exception | None]:
        """The frames up to the end, or to one that the GPU cannot decode; returns why it cannot."""
        reader = Reader(self._path, self._index, self._device, self._next)
        while not self._at_end:
            try:
                batch = reader.read(most)
            except TROUBLE as error:
                return error
            for position, pixels in batch:
                self._next, self._last = position + 1, position
                yield CudaFrame(self._index.time_s(position), pixels, self._luma)
        return None

    def _on_processor(self, failure: Exception) -> Iterator[Frame]:
        """The frames from here to the next key frame, where the GPU came upon damage."""
        index, lost = self._index, self._next
        lost_s, begin_s = index.time_s(lost), index.time_s(index.key_at(lost))
        self._next = index.key_after(lost)
        end_s = self._segment.end_s if self._at_end else index.time_s(self._next)
        is_sound = False
        try:
            for frame in frames(self._path, Segment(self._segment.index, begin_s, end_s)):
                is_sound |= frame.time_s == lost_s
                position = index.position(frame.time_s)
                if position is not None and position >= lost:
                    self._last = position
                    yield frame
        except DamagedVideoError:
            self._damaged += 1
            return
        if is_sound:
            raise VideoError(
                f"{self._path} cannot be decoded on the GPU at {lost_s:.1f} s: "
                f"{first_line(failure)}.",
                mend="Mine it with --device cpu.",
            ) from failure
