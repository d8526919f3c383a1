"""How many processor cores this process may use, containers and their quotas included."""

import math
import os
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """At least 1. Fewer than the machine has under taskset, or a container's CPU quota.

    A runtime that starts a thread for every core of the machine is slowed down by a quota:
    the threads use up their share of a period and then all stand still for the rest of it.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> list[float]:
    """The CPU quotas, in cores, of the control groups that this process is in (version 2)."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:  # no Linux
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    # In a container the group's path may be that of the host, which is not seen from here; the
    # root that is seen is then the container's own.
    places = [PurePosixPath(own), *PurePosixPath(own).parents]
    found = (_quota(_CGROUPS / str(place).lstrip("/") / "cpu.max") for place in places)
    return [quota for quota in found if quota is not None]


def _quota(file: Path) -> float | None:
    try:
        allowed_us, period_us = file.read_text().split()
        return int(allowed_us) / int(period_us)
    except (OSError, ValueError, ZeroDivisionError):  # not there, or "max": no quota
        return None
