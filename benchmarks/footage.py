"""Footage for the benchmarks: fetched or made, kept in a folder outside the checkout."""

import random
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cli.demo.footage import sample_clips
from toolkit.workspace import atomic_file, sha256_file

CACHE = Path(tempfile.gettempdir()) / "vr-footage"
VTEST_SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"
_VTEST_IN_PACKAGE = "usr/share/doc/opencv-doc/examples/data/vtest.avi"

SIZES = {"1080p30": (1920, 1080, 7_000_000), "4K30": (3840, 2160, 20_000_000)}  # bits a second
_RATE = 30


def vtest(given: Path | None = None, cache: Path = CACHE) -> Path:
    """People who walk before a fixed camera, 79.5 s, from Debian's package opencv-doc.

    Raises ValueError for a file that is another one, CalledProcessError where apt-get has no
    package lists (`apt-get update`) or is absent.
    """
    path = given or cache / "vtest.avi"
    if not given and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "opencv-doc"], cwd=folder, check=True)
            (package,) = Path(folder).glob("opencv-doc_*.deb")
            subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
            with atomic_file(path) as draft:
                draft.write_bytes((Path(folder) / _VTEST_IN_PACKAGE).read_bytes())
    if sha256_file(path) != VTEST_SHA256:
        raise ValueError(f"{path} is not the known vtest.avi: sha256 {sha256_file(path)}")
    return path


def bikes() -> Path:
    """The street montage of the demo extra, 10 s, 640x272."""
    return next(path for path in sample_clips() if path.name == "bikes.mp4")


def enlarged(name: str, seconds: float, cache: Path = CACHE) -> Path:
    """H.264 as a camera gives it, of a name in SIZES: real clips enlarged, with grain on them.

    The grain and the bit rate make it as dear to decode as real footage; an enlarged clip
    alone is nearly free.
    """
    width, height, bits = SIZES[name]
    path = cache / f"{name}-{seconds:g}s.mp4"
    if not path.is_file():
        with atomic_file(path) as draft:
            pictures = islice(_pictures(width, height), round(seconds * _RATE))
            _encode(draft, pictures, (width, height), bits)
    return path


def _pictures(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    import cv2

    small = [picture for path in sample_clips()[:2] for picture in _real(path, height / width)]
    generator = np.random.default_rng(0)
    grain = generator.normal(0, 4, (height + 64, width + 64, 1)).astype(np.int8)
    shifts = random.Random(0)
    while True:
        # There and back, so that the end of a round is no cut.
        for picture in small + small[-2:0:-1]:
            large = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
            top, left = shifts.randrange(64), shifts.randrange(64)
            noise = grain[top : top + height, left : left + width]
            yield np.asarray(cv2.add(large, np.repeat(noise, 3, 2), dtype=cv2.CV_8U), np.uint8)


def _real(path: Path, shape: float) -> list[NDArray[np.uint8]]:
    """The frames of a clip, cut to the given height over width."""
    import av

    with av.open(str(path)) as container:
        pictures = [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]
    height, width = pictures[0].shape[:2]
    across, down = min(width, round(height / shape)), min(height, round(width * shape))
    left, top = (width - across) // 2, (height - down) // 2
    return [np.asarray(p[top : top + down, left : left + across], np.uint8) for p in pictures]


def _encode(
    path: Path, pictures: Iterator[NDArray[np.uint8]], size: tuple[int, int], bits: int
) -> None:
    import av

    options = {"preset": "veryfast", "g": "60", "bf": "2"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(_RATE), options=options)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", bits
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def repeated(path: Path, out: Path, seconds: float) -> Path:
    """The clip again and again for that long, by copying its packets with later times."""
    import av

    with atomic_file(out) as draft, av.open(str(draft), "w", format="mp4") as target:
        copy, offset = None, 0
        length: int | None = None
        while True:
            with av.open(str(path)) as source:
                stream = source.streams.video[0]
                if stream.time_base is None:
                    raise ValueError(f"{path} has no clock")
                if copy is None:
                    copy = target.add_stream_from_template(stream)
                end = 0
                for packet in source.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = copy
                    target.mux(packet)
                length = length or end
                offset += length
                if offset * stream.time_base >= seconds:
                    return out
