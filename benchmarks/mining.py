"""Mining: its speed beside decoding, its workers and memory, and how true its pairs are.

The parts can be run alone (`--only`), because some take many minutes and none should be
timed while the machine does something else. Footage is kept in --cache.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and OpenCV are imported

import argparse
import tempfile
from pathlib import Path

import footage
import mining_people
import mining_process
import mining_speed
import mining_truth
from machine import describe

from toolkit.mining.settings import MiningSettings

PARTS = ("ratio", "profile", "paper", "workers", "memory", "vtest", "truth")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--vtest", type=Path, help="vtest.avi; fetched where it is not given")
    parser.add_argument("--cache", type=Path, default=footage.CACHE)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of the enlarged clips")
    parser.add_argument("--paper-frames", type=int, default=200)
    parser.add_argument("--workers-seconds", type=float, default=960, help="of 1080p to mine")
    parser.add_argument("--memory-seconds", type=float, default=3600, help="of 1080p to mine")
    parser.add_argument("--seeds", type=int, default=3, help="of the synthetic clips")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if set(chosen) - set(PARTS):
        parser.error(f"--only takes {','.join(PARTS)}")
    options.cache.mkdir(parents=True, exist_ok=True)
    print(describe(), end="\n\n")
    for part in (part for part in PARTS if part in chosen):
        print(f"## {part}\n", flush=True)
        _RUN[part](options)
        print()


def _videos(options: argparse.Namespace) -> dict[str, Path]:
    real = {"vtest.avi": footage.vtest(options.vtest, options.cache), "bikes.mp4": footage.bikes()}
    return real | {
        name: footage.enlarged(name, options.seconds, options.cache) for name in footage.SIZES
    }


def _ratio(options: argparse.Namespace) -> None:
    mining_speed.print_ratios(_videos(options), options.runs)


def _profile(options: argparse.Namespace) -> None:
    mining_speed.print_stages(_videos(options))


def _paper(options: argparse.Namespace) -> None:
    mining_speed.print_paper(_videos(options), options.paper_frames)


def _workers(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        clip = footage.enlarged("1080p30", options.seconds, options.cache)
        long = footage.repeated(clip, Path(folder) / "long.mp4", options.workers_seconds)
        mining_process.print_workers([long], (1, 2), max(1, options.runs // 2))


def _memory(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        clip = footage.enlarged("1080p30", options.seconds, options.cache)
        name = f"{options.memory_seconds:.0f}s-1080p30.mp4"
        long = footage.repeated(clip, Path(folder) / name, options.memory_seconds)
        mining_process.print_memory(long, workers=2)


def _vtest(options: argparse.Namespace) -> None:
    mining_people.print_people(footage.vtest(options.vtest, options.cache))


def _truth(options: argparse.Namespace) -> None:
    scores = mining_truth.score_all(MiningSettings(), seeds=range(options.seeds))
    print(f"{mining_truth.table(scores)}\n\n{mining_truth.estimate(scores)}")


_RUN = {
    "ratio": _ratio,
    "profile": _profile,
    "paper": _paper,
    "workers": _workers,
    "memory": _memory,
    "vtest": _vtest,
    "truth": _truth,
}


if __name__ == "__main__":
    main()
