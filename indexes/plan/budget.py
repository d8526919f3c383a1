"""What an index may cost, and what there is to build it with."""

import math
from dataclasses import dataclass

from toolkit.errors import UsageError

DEFAULT_RECALL = 0.95
DEFAULT_LATENCY_MS = 10.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What an index may take. Raises UsageError for a value that makes no sense.

    memory_bytes: that searching may hold, None for as little as the rest allows; latency_ms:
    of one query when the files are in memory, on one core, None for 10; recall: share of the
    true ten nearest that must be found, over 0 to 1.
    """

    memory_bytes: int | None = None
    latency_ms: float | None = None
    recall: float = DEFAULT_RECALL

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise UsageError(f"The memory is {self.memory_bytes} bytes; it must be over 0.")
        if self.latency_ms is not None and not 0 < self.latency_ms < math.inf:
            raise UsageError(f"The latency is {self.latency_ms} ms; it must be over 0.")
        if not 0 < self.recall <= 1:
            raise UsageError(f"The recall is {self.recall}; it must be over 0 and at most 1.")

    @property
    def most_ms(self) -> float:
        """The latency that is allowed, given or not."""
        return DEFAULT_LATENCY_MS if self.latency_ms is None else self.latency_ms


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to build with.

    threads: that FAISS may use; memory_bytes, disk_bytes: that are free, None where that is
    not known; gpu_bytes: memory of the GPU that FAISS may use, 0 without one.
    """

    threads: int = 1
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    gpu_bytes: int = 0
