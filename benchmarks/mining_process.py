"""Whole runs of `vr mine`: what a second worker gains, and how much memory each one takes."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VR = str(Path(sys.executable).with_name("vr"))
_MIB = 1024  # the kernel counts in KiB
_POLL_S = 0.2


@dataclass(frozen=True)
class Run:
    """One `vr mine`: seconds by the clock and of the processor, frames, peak MiB by process."""

    wall_s: float
    cpu_s: float
    frames: int
    pairs: int
    peaks_mib: list[float]


def vr_mine(videos: Sequence[Path], workers: int, extra: Sequence[str] = ()) -> Run:
    """Mine into a folder that is thrown away. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [VR, "mine", *map(str, videos), "--out", f"{folder}/patches", "--json"]
        command += ["--workers", str(workers), *extra]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        errors = Path(folder) / "errors"
        with (Path(folder) / "report").open("w+") as report, errors.open("w") as messages:
            process = subprocess.Popen(command, stdout=report, stderr=messages, text=True)
            peaks = _watch(process)
            wall_s = time.perf_counter() - began
            report.seek(0)
            content = report.read()
        if process.returncode not in (0, 3):
            raise subprocess.CalledProcessError(
                process.returncode, command, stderr=errors.read_text()
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(content)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s, cpu_s, told["frames"], told["pairs"], sorted(peaks.values(), reverse=True))


def _watch(process: "subprocess.Popen[str]") -> dict[int, float]:
    """The peak resident MiB of the process and of all below it, until it ends."""
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in _family(process.pid):
            peak = _peak_mib(pid)
            if peak is not None:
                peaks[pid] = max(peaks.get(pid, 0.0), peak)
        time.sleep(_POLL_S)
    return peaks


def _family(root: int) -> list[int]:
    """The process and everything it started, as far as the kernel tells of it (Linux)."""
    family = [root]
    for pid in family:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                family += [int(child) for child in task.read_text().split()]
            except OSError:  # it ended between two looks
                continue
    return family


def _peak_mib(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / _MIB
    return None


def print_workers(videos: Sequence[Path], counts: Sequence[int], runs: int) -> None:
    """One worker and more, in turns; whole processes, with their start."""
    seen: dict[int, list[Run]] = {count: [] for count in counts}
    for _ in range(runs):
        for count in counts:
            seen[count].append(vr_mine(videos, count))
    print("| workers | seconds | CPU seconds | frames a second | times one worker | pairs |")
    print("|---|---|---|---|---|---|")
    base = statistics.median(run.wall_s for run in seen[counts[0]])
    for count, found in seen.items():
        wall_s = statistics.median(run.wall_s for run in found)
        cpu_s = statistics.median(run.cpu_s for run in found)
        print(
            f"| {count} | {wall_s:.1f} | {cpu_s:.1f} | {found[0].frames / wall_s:.0f} "
            f"| {base / wall_s:.2f} | {found[0].pairs} |",
            flush=True,
        )
    print(f"\n{os.cpu_count()} cores; {runs} runs of each, in turns, medians.")


def print_memory(video: Path, workers: int) -> None:
    """The peak resident memory of each process of one run."""
    run = vr_mine([video], workers)
    peaks = ", ".join(f"{peak:.0f}" for peak in run.peaks_mib[: workers + 3])
    print("| footage | workers | frames | seconds | largest process, MiB | all processes, MiB |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {video.name} | {workers} | {run.frames} | {run.wall_s:.0f} "
        f"| {max(run.peaks_mib):.0f} | {peaks} |",
        flush=True,
    )
