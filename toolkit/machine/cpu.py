"""The processor: what it is, what it can do fast, and how much of it this process may use."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# What makes networks fast: the feature, and Linux's flags of which any one stands for it.
_X86 = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},  # int8 products
    "BF16": {"avx512_bf16", "amx_bf16"},
    "AMX": {"amx_tile"},
}
_ARM = {
    "NEON": {"asimd", "neon"},
    "dot product": {"asimddp"},  # int8 products
    "I8MM": {"i8mm"},
    "BF16": {"bf16"},
    "SVE": {"sve"},
}
_MODEL_KEYS = ("model name", "Hardware", "Processor")


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor.

    cores: that the machine shows; usable: that this process may use, of which a container
    may allow only the time of `quota` (None: no such limit); features: which of the fast
    instructions it has, empty where the system does not say.
    """

    model: str
    architecture: str
    cores: int
    usable: int
    quota: float | None
    features: Mapping[str, bool]


def read_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """Ask the system. Away from Linux the features are unknown."""
    fields = _read_fields(cpuinfo)
    architecture = platform.machine()
    wanted = _ARM if architecture.lower() in ("aarch64", "arm64") else _X86
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    model = next((fields[key] for key in _MODEL_KEYS if fields.get(key)), platform.processor())
    return Cpu(
        model=" ".join(model.split()) or "unknown",
        architecture=architecture,
        cores=os.cpu_count() or 1,
        usable=count_usable_cores(),
        quota=read_quota(),
        features={name: bool(flags & any_of) for name, any_of in wanted.items()} if flags else {},
    )


def count_usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_quota(cgroup: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The processors' worth of time that a container grants; None where it sets no limit."""
    try:
        allowed, period = (cgroup / "cpu.max").read_text("ascii").split()
        return None if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no Linux, no such group, an older kernel
        return None


def _read_fields(cpuinfo: Path) -> dict[str, str]:
    """The first processor's fields; empty where there is no such file."""
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return {}
    # ARM writes what all have in common behind a blank line: the first of each key counts.
    fields: dict[str, str] = {}
    for line in re.findall(r"^[^\n:]+:[^\n]*$", text, re.MULTILINE):
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields
