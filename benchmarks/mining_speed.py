"""How fast mining is beside decoding alone, and where its time goes."""

import cProfile
import pstats
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

import toolkit
from toolkit.images import encode_jpeg
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.work.run import mine as run_mining
from toolkit.patches.phash import perceptual_hash
from toolkit.video.decode import frames
from toolkit.video.frame import Frame

_PACKAGE = str(Path(toolkit.__file__).parent)


@dataclass(frozen=True)
class Rate:
    """Frames a second: by the clock, and by the processor time of this process. Medians."""

    wall: float
    cpu: float


def decode_only(path: Path) -> int:
    return sum(1 for _ in frames(path))


def decode_to_rgb(path: Path) -> int:
    return sum(1 for frame in frames(path) if frame.rgb().size)


def mine(path: Path, settings: MiningSettings, most: int | None = None) -> int:
    """Pairs of patches as JPEG, and not written anywhere; returns the frames."""
    tally = Tally()
    found: Iterator[Frame] = islice(frames(path), most)
    for pair in mined_pairs(found, settings, tally):
        for view in (pair.query, pair.positive):
            encode_jpeg(view.patch, quality=settings.jpeg_quality)
            perceptual_hash(view.patch)
    return tally.frames


def mine_whole(path: Path, settings: MiningSettings) -> int:
    """`vr mine` in this process: hashing the file, its shard and its ledger entry included."""
    with tempfile.TemporaryDirectory() as folder:
        return run_mining([path], Path(folder) / "patches", settings).frames


def in_turns(tasks: Mapping[str, Callable[[], int]], runs: int) -> dict[str, Rate]:
    """Run the tasks, which return their frames, in turns; one run of each does not count."""
    cv2.setNumThreads(1)
    wall: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for turn in range(runs + 1):
        for name, task in tasks.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            count = task()
            if turn:
                wall[name].append(count / (time.perf_counter() - began))
                cpu[name].append(count / (time.process_time() - began_cpu))
    return {
        name: Rate(statistics.median(wall[name]), statistics.median(cpu[name])) for name in tasks
    }


def print_ratios(videos: Mapping[str, Path], runs: int) -> None:
    """Mining over decoding for each video, by the clock and by processor time.

    "mine" is a whole `vr mine` in this process, "recipe" only frames to patches.
    """
    settings = MiningSettings()
    head = ["footage", "frames", "decode fps", "to RGB fps", "recipe fps", "mine fps"]
    head += ["mine / decode", "mine / decode, CPU time", "recipe / decode", "mine / to RGB"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name, path in videos.items():
        rates = in_turns(
            {
                "decode": lambda p=path: decode_only(p),  # type: ignore[misc]
                "rgb": lambda p=path: decode_to_rgb(p),  # type: ignore[misc]
                "recipe": lambda p=path: mine(p, settings),  # type: ignore[misc]
                "mine": lambda p=path: mine_whole(p, settings),  # type: ignore[misc]
            },
            runs,
        )
        decode, mined = rates["decode"], rates["mine"]
        cells = [name, str(decode_only(path)), *(f"{rate.wall:.0f}" for rate in rates.values())]
        cells += [f"{mined.wall / decode.wall:.3f}", f"{mined.cpu / decode.cpu:.3f}"]
        cells += [f"{rates['recipe'].wall / decode.wall:.3f}"]
        cells += [f"{mined.wall / rates['rgb'].wall:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_paper(videos: Mapping[str, Path], most: int) -> None:
    """The paper's recipe on the first frames of each video, beside the default one."""
    print(f"| footage, first {most} frames | modern fps | wang2015 fps | wang2015 / decode |")
    print("|---|---|---|---|")
    for name, path in videos.items():
        tasks: dict[str, Callable[[], int]] = {
            "decode": lambda p=path: sum(1 for _ in islice(frames(p), most)),  # type: ignore[misc]
            "modern": lambda p=path: mine(p, MiningSettings(), most),  # type: ignore[misc]
            "paper": lambda p=path: mine(p, MiningSettings(recipe="wang2015"), most),  # type: ignore[misc]
        }
        rates = in_turns(tasks, 1)
        decode, modern, paper = (rates[key].wall for key in tasks)
        print(f"| {name} | {modern:.0f} | {paper:.1f} | {paper / decode:.4f} |", flush=True)


def print_stages(videos: Mapping[str, Path], most: int = 12) -> None:
    """Where mining spends its time: our functions, each with the libraries that it calls.

    Measured with the profiler on, which makes Python look slower beside OpenCV than it is.
    """
    for name, path in videos.items():
        shares = stages(path, MiningSettings())
        ranked = sorted(shares.items(), key=lambda item: -item[1])
        print(f"| {name}: function | share of the time |\n|---|---|")
        for function, share in ranked[:most]:
            print(f"| `{function}` | {share:.1%} |")
        print(f"| all others | {sum(share for _, share in ranked[most:]):.1%} |\n", flush=True)


def stages(path: Path, settings: MiningSettings) -> dict[str, float]:
    """The share of each function of `toolkit`; what it calls elsewhere counts as its own."""
    cv2.setNumThreads(1)
    profile = cProfile.Profile()
    profile.runcall(mine, path, settings)
    calls: Mapping[_Function, _Calls] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    spent: dict[str, float] = defaultdict(float)
    known: dict[_Function, dict[str, float]] = {}
    for function, (_, _, own_s, _, _) in calls.items():
        for ours, share in _answers(function, calls, known).items():
            spent[ours] += share * own_s
    total = sum(spent.values())
    return {name: value / total for name, value in spent.items()}


_Function = tuple[str, int, str]  # file, line, name
_Calls = tuple[int, int, float, float, Mapping["_Function", tuple[int, int, float, float]]]


def _answers(
    function: _Function,
    calls: Mapping[_Function, _Calls],
    known: dict[_Function, dict[str, float]],
) -> dict[str, float]:
    """Which of our functions a function worked for, in shares that add up to 1 at most."""
    file, _, name = function
    if file.startswith(_PACKAGE):
        module = Path(file).relative_to(_PACKAGE).with_suffix("").as_posix()
        return {f"{module.replace('/', '.')}.{name}": 1.0}
    if function not in known:
        known[function] = {}  # one that calls itself, by whatever way, adds nothing
        callers = {caller: times[3] for caller, times in calls[function][4].items()}
        whole = sum(callers.values()) or 1.0
        shares: dict[str, float] = defaultdict(float)
        for caller, seconds in callers.items():
            for ours, share in _answers(caller, calls, known).items():
                shares[ours] += share * seconds / whole
        known[function] = dict(shares)
    return known[function]
