"""Where decoding of a segment begins and ends, so that its pictures are those of one pass."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.images import RgbImage
from toolkit.video.container import VideoFile
from toolkit.video.planes import converted

if TYPE_CHECKING:
    from toolkit.video.container import VideoPacket

_MOST_BEFORE_KEY = 1000  # packets; some files mark no key frames
_TRIES = 4  # damaged key frames in a row, beyond which the file is decoded from its beginning


def packets_from(file: VideoFile, pts: int) -> Iterator["VideoPacket"]:
    """The packets from the key frame shown at `pts` on; all there are where it is not found."""
    for packets in file.from_before(pts):
        for packet in _keys(packets):
            if packet.pts == pts:
                return chain([packet], packets)
            if packet.pts is not None and packet.pts > pts:
                break
    return file.from_beginning()


def key_shown(file: VideoFile, pts: int) -> int | None:
    """PTS of the last key frame at or before `pts`; None where there is none."""
    shown: int | None = None
    for packets in file.from_before(pts):
        for packet in _keys(packets):
            if packet.pts is None or packet.pts > pts:
                break
            shown = packet.pts
        if shown is not None:
            return shown
    return None


def from_key(packets: Iterator["VideoPacket"]) -> Iterator["VideoPacket"]:
    """Without what comes before the first key frame and cannot be decoded.

    A stream that was joined in the middle begins like that, and so do the pictures that lead
    its first key frame.
    """
    passed = 0
    key: int | None = None
    for packet in packets:
        if not packet.is_keyframe and passed < _MOST_BEFORE_KEY:
            passed += 1
            continue
        yield packet
        key = packet.pts
        break
    for packet in packets:
        if key is None or packet.pts is None or packet.pts >= key:
            yield packet
            break
    yield from packets


def until(packets: Iterator["VideoPacket"], end: float) -> Iterator["VideoPacket | None"]:
    """The packets shown before the key frame at `end`; None last, where the decoder is emptied.

    Pictures that lead that key frame need it, and follow it in the file.
    """
    held: VideoPacket | None = None
    for packet in packets:
        if packet.pts is None or packet.pts < end or packet.is_discard:
            if held is not None:
                yield held
                held = None
            yield packet
        elif packet.is_keyframe and packet.pts == end:
            held = packet
        else:
            break
    yield None


def sound_start(path: Path, pts: int) -> int | None:
    """PTS of the key frame to decode from, so that the frames from `pts` on are as in one pass.

    None is the beginning of the file. It is the key frame at `pts` itself, unless that is
    damaged. Then its picture depends on what was decoded before, and the key frame before it
    is tried, and so on.
    """
    for _ in range(_TRIES):
        pair = _key_and_before(path, pts)
        if pair is None:
            return None
        if _stands_alone(path, *pair):
            return pts
        pts = pair[0].pts or 0
    return None


def begins_anew(path: Path, time_s: float) -> bool:
    """Whether the picture of the key frame at `time_s` is the same whatever came before it."""
    with VideoFile(path) as file:
        pts = round(time_s / file.base)
    pair = _key_and_before(path, pts)
    return pair is not None and _stands_alone(path, *pair)


def _stands_alone(path: Path, before: "VideoPacket", key: "VideoPacket") -> bool:
    alone = _picture(path, [key])
    after = _picture(path, [before, key])
    return alone is not None and after is not None and np.array_equal(alone, after)


def _key_and_before(path: Path, pts: int) -> tuple["VideoPacket", "VideoPacket"] | None:
    """The key frame at `pts`, after one before it; None where there is none before."""
    with VideoFile(path) as file:
        for packets in file.from_before(pts - 1):
            before: VideoPacket | None = None
            for packet in _keys(packets):
                if packet.pts == pts and before is not None:
                    return before, packet
                if packet.pts is None or packet.pts >= pts:
                    break
                before = packet
    return None


def _keys(packets: Iterator["VideoPacket"]) -> Iterator["VideoPacket"]:
    return (packet for packet in packets if packet.is_keyframe and packet.pts is not None)


def _picture(path: Path, packets: Sequence["VideoPacket"]) -> RgbImage | None:
    """The picture of the last of these packets, decoded by itself after the others."""
    import av

    found: RgbImage | None = None
    with VideoFile(path) as file:  # a decoder of its own: buffers of another show through damage
        try:
            for packet in (*packets, None):
                for image in file.stream.codec_context.decode(packet):
                    if image.pts == packets[-1].pts and not image.is_corrupt:
                        found = converted(image, "rgb24")
        except av.FFmpegError:
            return None
    return found
