"""Memory, and the disk of a folder."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes; None where the system does not say.

    total: of the machine, or what a container allows where that is less.
    """

    total_bytes: int | None
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of a folder, in bytes; writable: whether this user may write there."""

    folder: Path
    total_bytes: int
    free_bytes: int
    writable: bool


def read_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> Memory:
    """Ask the system."""
    total, available = _field(meminfo, "MemTotal"), _field(meminfo, "MemAvailable")
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is not None and (total is None or limit < total):
        left = max(0, limit - (used or 0))
        return Memory(limit, left if available is None else min(left, available))
    return Memory(total, available)


def read_disk(folder: Path) -> Disk:
    """Ask the system. Raises OSError where the folder is gone."""
    usage = shutil.disk_usage(folder)
    return Disk(folder, usage.total, usage.free, os.access(folder, os.W_OK))


def _field(meminfo: Path, key: str) -> int | None:
    try:
        match = re.search(rf"^{key}:\s*(\d+) kB$", meminfo.read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
