"""What an index may take, as its folder remembers it, and what this machine has."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from indexes.catalog.schema import FILE_NAME, damaged
from indexes.catalog.writer import Catalog
from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import IndexPlan, plan_index
from indexes.vectors.keys import FLAT_KEY
from indexes.vectors.train import check_key
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


def remembered(catalog: Catalog, given: Wish | None = None) -> Wish:
    """What counts for this index: what is given now, else what was kept of an earlier build."""
    return given or parse_wish(catalog.meta(META), catalog.index)


def remember(catalog: Catalog, wish: Wish | None) -> None:
    """Keep what was given, for later builds; in the transaction in which it comes true."""
    if wish is not None:
        catalog.set_meta(META, json.dumps(wish.as_json(), sort_keys=True))


def check_wish(wish: Wish | None, vectors: int | None, dim: int) -> None:
    """Raises UsageError where the key that was given cannot be made of so many vectors.

    vectors: None where nobody knows yet.
    """
    if wish is not None and wish.key is not None:
        check_key(wish.key, dim, vectors)


def plan_now(wish: Wish, vectors: int, dim: int, machine: Machine, *, asked: bool) -> IndexPlan:
    """The index for so many vectors. asked: the wish was given now, and not kept.

    A key that was kept waits where there are too few vectors for it, and the plan says so.
    Raises what `Wish.plan` raises.
    """
    plan = wish.plan(vectors, dim, machine)
    if asked:
        return plan
    try:
        check_wish(wish, vectors, dim)
    except UsageError as error:
        flat = Wish(wish.budget, FLAT_KEY).plan(vectors, dim, machine)
        return replace(flat, reasons=(f"flat, for now: {error.problem}",))
    return plan


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
