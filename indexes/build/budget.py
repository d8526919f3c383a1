"""What an index may take, as its folder remembers it, and what this machine has."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from indexes.catalog.schema import FILE_NAME, damaged
from indexes.catalog.writer import Catalog
from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import IndexPlan, plan_index
from toolkit.errors import UsageError
from toolkit.machine.cpu import count_usable_cores
from toolkit.machine.cuda import list_gpus
from toolkit.machine.storage import read_disk, read_memory
from toolkit.workspace import parse_json

META = "budget"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked of an index: a budget, or the very key (of FAISS's factory) to use."""

    budget: Budget = field(default_factory=Budget)
    key: str | None = None

    def plan(self, vectors: int, dim: int, machine: Machine) -> IndexPlan:
        """The index for so many vectors. Raises InputError where none fits, UsageError."""
        return plan_index(vectors, dim, self.budget, machine, self.key)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the catalog, and in `--json`."""
        return {
            "memory_bytes": self.budget.memory_bytes,
            "latency_ms": self.budget.latency_ms,
            "recall": self.budget.recall,
            "key": self.key,
        }

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError, ValueError or UsageError."""
        memory, latency, key = (content[name] for name in ("memory_bytes", "latency_ms", "key"))
        budget = Budget(
            None if memory is None else int(memory),
            None if latency is None else float(latency),
            float(content["recall"]),
        )
        return cls(budget, None if key is None else str(key))


def parse_wish(text: str | None, index: Path) -> Wish:
    """What the catalog says; nothing is the default. Raises MismatchError."""
    if text is None:
        return Wish()
    try:
        return Wish.from_json(parse_json(text))
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise damaged(index / FILE_NAME, f"its budget is none ({error})") from error


def remembered(catalog: Catalog, given: Wish | None) -> Wish:
    """What counts for this index: what is given now, which later builds follow too."""
    if given is None:
        return parse_wish(catalog.meta(META), catalog.index)
    catalog.set_meta(META, json.dumps(given.as_json(), sort_keys=True))
    return given


def this_machine(folder: Path, device: str = "cpu") -> Machine:
    """What there is to build with; `folder` is on the disk that counts."""
    while not folder.exists():
        folder = folder.parent
    return Machine(
        threads=count_usable_cores(),
        memory_bytes=read_memory().available_bytes,
        disk_bytes=read_disk(folder).free_bytes,
        gpu_bytes=_gpu_bytes() if device == "cuda" else 0,
    )


def _gpu_bytes() -> int:
    """Memory of the GPU that FAISS takes, the first; 0 without one."""
    gpus = list_gpus()
    return gpus[0].memory_bytes if gpus else 0
