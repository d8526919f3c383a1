"""What a build would make, told before it starts."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.build.budget import META, Wish, check_wish, parse_wish, plan_now, this_machine
from indexes.build.build import find_all
from indexes.build.estimate import Expected, expect, not_listed
from indexes.build.settings import BuildSettings
from indexes.catalog.model_check import check_same_model
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME
from indexes.folder.files import check_target
from indexes.plan.choose import IndexPlan
from toolkit.model_card import ModelCard


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What is known before a build.

    there: vectors that are in the index; expected: of the sources that it has not read;
    plan: the index for both together, where the unknown give nothing.
    """

    index: str
    there: int
    expected: Expected
    wish: Wish
    plan: IndexPlan

    def as_json(self) -> dict[str, Any]:
        """The contract of `vr index build --dry-run`."""
        plan = self.plan
        return {
            "index": self.index,
            "vectors": self.there,
            "new_vectors": self.expected.vectors,
            "sources": self.expected.sources,
            "unknown": self.expected.unknown,
            "budget": self.wish.as_json(),
            "kind": plan.kind,
            "key": plan.key,
            "memory_bytes": plan.memory_bytes,
            "bytes": plan.disk_bytes,
            "build_s": round(plan.build_s, 3),
            "query_ms": round(plan.query_ms, 4),
            "reasons": list(plan.reasons),
        }


def plan_build(
    index: Path, sources: Sequence[Path], card: ModelCard, settings: BuildSettings
) -> BuildPlan:
    """Look at the sources, and read none. Raises what `build` raises before it embeds."""
    check_target(index)
    found, _ = find_all(sources, settings.reading)
    there, wish = 0, settings.wish or Wish()
    if (index / FILE_NAME).exists() and not settings.overwrite:
        with closing(CatalogReader(index)) as catalog:
            check_same_model(index, catalog.card, card)
            there = catalog.count()
            wish = settings.wish or parse_wish(catalog.meta(META), index)
            found = not_listed(found, catalog.inputs())
    expected = expect(found, settings.reading)
    vectors, machine = there + expected.vectors, this_machine(index, settings.device)
    plan = plan_now(wish, vectors, card.dim, machine, asked=settings.wish is not None)
    check_wish(settings.wish, None if expected.unknown else vectors, card.dim)
    return BuildPlan(str(index), there, expected, wish, plan)
