"""torchcodec's decoder, asked for the frames of an index in turn.

Written against `torchcodec.decoders.VideoDecoder` of 0.17 with `custom_frame_mappings`: it
seeks the key frame before the first frame that is asked for, reads on from there, applies the
rotation, gives 8-bit RGB also of deeper video, and raises at a packet that it cannot decode.
Frames are asked for and known by their times, never by their numbers: a packet may give no
picture.
"""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from toolkit.errors import MissingError
from toolkit.optional import require
from toolkit.video.cuda_index import FrameIndex, NotOnGpuError

if TYPE_CHECKING:
    from torch import Tensor

# What torchcodec raises, and torch on a GPU.
TROUBLE = (RuntimeError, ValueError, IndexError)
# A seek may come out too late; the last of these is the beginning of any file.
_SEEK_BACK_S = (0.0, 2.0, 20.0, 1e6)


def load_torchcodec() -> ModuleType:
    """Import torchcodec. Raises MissingError where it, or FFmpeg for it, is not there."""
    try:
        module = require("torchcodec")
        found = getattr(module, "ffmpeg_major_version", None) is not None
        reason = "it finds no FFmpeg"
    except (OSError, RuntimeError) as error:
        found, reason = False, first_line(error)
    if not found:
        raise MissingError(
            f"torchcodec is installed, but cannot be used: {reason}.",
            mend="It needs the shared libraries of FFmpeg 4 to 9 (Debian: apt-get install ffmpeg)"
            " and the CUDA build of torch.",
        )
    return module


def first_line(error: Exception) -> str:
    """What an error says, without the traces that torchcodec puts after it."""
    return str(error).strip().partition("\n")[0].rstrip(".")


class Reader:
    """Reads the frames of an index from one of them on, on a device of torch."""

    def __init__(self, path: Path, index: FrameIndex, device: str, begin: int) -> None:
        """Nothing is opened yet; `begin` is a position in the index."""
        self._torchcodec = load_torchcodec()
        self._path = path
        self._index = index
        self._device = device
        self._next = begin
        self._decoder: Any = None

    def read(self, most: int) -> "list[tuple[int, Tensor]]":
        """At least one frame and at most so many: positions, and uint8 RGB (height, width, 3).

        Raises one of TROUBLE where the GPU cannot go on, NotOnGpuError and MissingError.
        """
        batch = self._begin(most) if self._decoder is None else self._decode(most)
        if not batch:
            raise RuntimeError("no frame came out")
        self._next = batch[-1][0] + 1
        return batch

    def _begin(self, most: int) -> "list[tuple[int, Tensor]]":
        trouble: Exception = RuntimeError("decoding began too late")
        for back_s in _SEEK_BACK_S:
            self._decoder = self._open(back_s)
            try:
                batch = self._decode(most)
            except TROUBLE as error:
                trouble = error
                continue
            # Later on that is a packet without a picture; here it may be a seek too far.
            if batch and batch[0][0] == self._next:
                return batch
        raise trouble

    def _open(self, back_s: float) -> Any:
        options = {
            "stream_index": self._index.stream,
            "dimension_order": "NHWC",
            "device": self._device,
        }
        path, mapping = f"file:{self._path}", self._index.mapping(self._next, back_s)
        make = self._torchcodec.decoders.VideoDecoder
        try:
            decoder = make(path, custom_frame_mappings=mapping, **options)
        except (AssertionError, ValueError):
            # It wants a length in the header, though the mapping has it; or else reads the file.
            decoder = make(path, seek_mode="exact", **options)
        # It would decode on the CPU without a word.
        if decoder.cpu_fallback and "NVcuvid" in str(decoder.cpu_fallback):
            raise MissingError(
                "The NVIDIA driver's library for decoding video, libnvcuvid, is not there.",
                mend="Install it; in a container, let NVIDIA_DRIVER_CAPABILITIES include video.",
            )
        if decoder.cpu_fallback:
            raise NotOnGpuError(
                self._path,
                f"this GPU does not decode {decoder.metadata.codec} of its size and kind",
            )
        return decoder

    def _decode(self, most: int) -> "list[tuple[int, Tensor]]":
        end = min(self._next + most, len(self._index.packets))
        middles_s = [self._index.middle_s(position) for position in range(self._next, end)]
        batch = self._decoder.get_frames_played_at(middles_s)
        found = map(self._index.position, batch.pts_seconds.tolist())
        return [
            (position, pixels)
            for position, pixels in zip(found, batch.data, strict=True)
            if position is not None and position >= self._next
        ]
