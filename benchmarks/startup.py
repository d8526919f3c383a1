"""Whole-process time of `vr --help` and `vr search`, beside bare Python and bare imports.

WORKSPACE is a folder in which `vr train`, `vr export` and `vr index build` have been run;
the query is the first thumbnail of its index. The commands take turns, so that a machine
that slows down slows all of them.
"""

import argparse
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import describe

VR = str(Path(sys.executable).with_name("vr"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    query = _write_query(options.workspace)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "vr --help": [VR, "--help"],
        "import numpy, onnxruntime, faiss": [
            sys.executable,
            "-c",
            "import numpy, onnxruntime, faiss",
        ],
        "vr search": [VR, "search", str(query), "--json"],
    }
    seconds = measure(commands, options.workspace, options.runs)
    print(describe(), end="\n\n")
    print("| command | median s | least s | most s | over python -c pass |")
    print("|---|---|---|---|---|")
    base = statistics.median(seconds["python -c pass"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"| `{name}` | {median:.3f} | {min(values):.3f} | {max(values):.3f} "
            f"| {median / base:.1f} |"
        )


def measure(commands: dict[str, list[str]], folder: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each command, in turns, after one run that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            begun = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def _write_query(workspace: Path) -> Path:
    with sqlite3.connect(workspace / "index" / "catalog.sqlite") as catalog:
        (jpeg,) = catalog.execute("SELECT jpeg FROM thumbnails LIMIT 1").fetchone()
    query = workspace / "query.jpg"
    query.write_bytes(jpeg)
    return query.resolve()


if __name__ == "__main__":
    main()
