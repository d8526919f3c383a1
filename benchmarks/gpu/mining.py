"""Mining on the GPU beside mining on the CPU. One call, on a machine with an NVIDIA GPU.

Prints Markdown: whether both decode the same frames, how fast each decodes and mines, what
each finds, whether the GPU finds the same twice, and what the flow alone costs.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and OpenCV are imported

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import footage as clips
from machine import describe

from toolkit.errors import MissingError
from toolkit.images import encode_jpeg
from toolkit.machine.cuda import list_gpus
from toolkit.mining.devices import resolve_mining_device
from toolkit.mining.footage import footage
from toolkit.mining.modern.camera import background_points
from toolkit.mining.modern.engine import flow_engine
from toolkit.mining.modern.picture import Picture
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import Device, MiningSettings
from toolkit.mining.tally import Tally
from toolkit.video.decode import DamagedVideoError
from toolkit.video.shown import ShownFrame
from toolkit.video.timeline import Segment

DEVICES: tuple[Device, ...] = ("cpu", "cuda")
_LONG_SIDE = 384
_COMPARED = 60  # frames whose pictures are compared; of all the times are
_CALLS = 50


@dataclass(frozen=True)
class Mined:
    """What came of mining a file once. digest: of all its patches."""

    frames: int
    pairs: int
    tracks: int
    seconds: float
    digest: str


def main() -> int:
    """Measure and print; exit code 6 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path, help="files to mine as well")
    parser.add_argument("--cache", type=Path, default=clips.CACHE)
    parser.add_argument("--seconds", type=float, default=20, help="of the generated 1080p clip")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    try:
        resolve_mining_device("cuda")
    except MissingError as error:
        print(f"Nothing was measured. {error}")
        return error.exit_code
    options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{_machine()}\n")
    videos = [clips.enlarged("1080p30", options.seconds, options.cache), *options.videos]
    for video in videos:
        print(f"## {video.name}\n")
        print_same_frames(video)
        print_speed(video, options.runs)
    print_flow(videos[0])
    return 0


def _machine() -> str:
    gpus = ", ".join(f"{gpu.name} ({gpu.sm}, CUDA {gpu.driver})" for gpu in list_gpus())
    text = describe().replace("no GPU used", gpus)
    return f"{text}, torchcodec {version('torchcodec')}"


def _frames(video: Path, device: Device) -> Iterator[ShownFrame]:
    try:
        yield from footage(video, Segment(0), MiningSettings(device=device))
    except DamagedVideoError as error:
        print(f"- {device}: {error.problem}")


def print_same_frames(video: Path) -> None:
    """Whether the GPU decodes what the CPU does: all times, and the first pictures."""
    times = [[frame.time_s for frame in _frames(video, device)] for device in DEVICES]
    print(f"- times: {len(times[0])} on the CPU, {len(times[1])} on the GPU, ", end="")
    print("the same" if times[0] == times[1] else "**not the same**")
    gray, colour = [], []
    for mine, theirs in islice(zip(*(_frames(video, d) for d in DEVICES), strict=False), _COMPARED):
        gray.append(np.abs(mine.small(_LONG_SIDE).astype(int) - theirs.small(_LONG_SIDE)).mean())
        colour.append(np.abs(mine.rgb().astype(int) - theirs.rgb()).mean())
    print(f"- mean difference: {np.mean(gray):.2f} gray levels in small copies, ", end="")
    print(f"{np.mean(colour):.2f} in colours; the worst frame {max(gray):.2f}, {max(colour):.2f}\n")


def print_speed(video: Path, runs: int) -> None:
    """Frames a second of decoding and of mining, in turns; one run of each does not count."""
    head = ["device", "frames", "decode fps", "mine fps", "decoding's share", "pairs", "tracks"]
    head += ["twice the same"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    decoded: dict[Device, list[float]] = {device: [] for device in DEVICES}
    mined: dict[Device, list[Mined]] = {device: [] for device in DEVICES}
    for turn in range(runs + 1):
        for device in DEVICES:
            began = time.perf_counter()
            sum(1 for _ in _frames(video, device))
            seconds, result = time.perf_counter() - began, mine(video, device)
            if turn:
                decoded[device].append(seconds)
                mined[device].append(result)
    for device in DEVICES:
        one, decode_s = mined[device][0], float(np.median(decoded[device]))
        mine_s = float(np.median([result.seconds for result in mined[device]]))
        same = len({result.digest for result in mined[device]}) == 1
        cells = [device, one.frames, f"{one.frames / decode_s:.0f}", f"{one.frames / mine_s:.0f}"]
        cells += [f"{decode_s / mine_s:.2f}", one.pairs, one.tracks, "yes" if same else "**no**"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print()


def mine(video: Path, device: Device) -> Mined:
    """Frames to JPEG patches, written nowhere."""
    settings, tally, digest = MiningSettings(device=device), Tally(), hashlib.sha256()
    began = time.perf_counter()
    for pair in mined_pairs(_frames(video, device), settings, tally):
        for view in (pair.query, pair.positive):
            digest.update(encode_jpeg(view.patch, quality=settings.jpeg_quality))
    seconds = time.perf_counter() - began
    return Mined(tally.frames, tally.pairs, tally.tracks, seconds, digest.hexdigest())


def print_flow(video: Path) -> None:
    """Milliseconds of each flow on two frames in a row, uploading and downloading included."""
    first, second = (
        Picture.of(frame.small(_LONG_SIDE)) for frame in islice(_frames(video, "cpu"), 2)
    )
    points = background_points(first)
    print(f"## Flow, {first.gray.shape[1]}x{first.gray.shape[0]}, {len(points)} points\n")
    print("| device | follow, ms | dense flow, ms |\n|---|---|---|")
    for device in DEVICES:
        engine = flow_engine(device)
        follow_ms = _ms(lambda e=engine: e.follow(first.gray, second.gray, points, points))  # type: ignore[misc]
        dense_ms = _ms(lambda e=engine: e.dense_flow(second.coarse, first.coarse))  # type: ignore[misc]
        print(f"| {device} | {follow_ms:.2f} | {dense_ms:.2f} |")


def _ms(task: Callable[[], object]) -> float:
    """The median of calls after some that do not count; each ends with its result at hand."""
    spent = []
    for call in range(_CALLS + 5):
        began = time.perf_counter()
        task()
        if call >= 5:
            spent.append(time.perf_counter() - began)
    return 1000 * float(np.median(spent))


if __name__ == "__main__":
    raise SystemExit(main())
