"""How many workers this machine has room for."""

import os
from pathlib import Path

# What a worker may take at most; a first guess at a machine must not end in the OOM killer.
_WORKER_BYTES = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def default_workers() -> int:
    """One for each processor that this process may use, as far as memory goes, at least one.

    A worker decodes and computes on one thread. The limits of a container count (cgroup 2):
    with more workers than processors each one only waits.
    """
    free = _free_bytes()
    fitting = _processors() if free is None else min(_processors(), free // _WORKER_BYTES)
    return max(1, fitting)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        count = min(count, max(1, int(quota) // int(period)))
    return count


def _free_bytes() -> int | None:
    """The memory that is to be had; None where the system does not say."""
    free = []
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    limit = _read(_CGROUP / "memory.max").strip()
    used = _read(_CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free.append(max(0, int(limit) - int(used)))
    return min(free, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or an older one
        return ""
