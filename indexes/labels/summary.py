"""Which labels an index has: by class, by batch, and how much of it they cover."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.catalog.reader import CatalogReader
from indexes.labels.records import GIVEN, Batch
from indexes.labels.table import COUNTING, batches

_THINGS = """
SELECT (SELECT count(*) FROM tracks) + (SELECT count(*) FROM patches WHERE track IS NULL)
"""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Things that have a label: from people, and from the newest spread."""

    label: str
    given: int
    spread: int


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """things: of the index; classes by name, batches by age."""

    things: int
    classes: tuple[ClassCount, ...]
    batches: tuple[Batch, ...]

    @property
    def given(self) -> int:
        """Things that people labelled."""
        return sum(one.given for one in self.classes)

    @property
    def spread(self) -> int:
        """Things that have a label of the newest spread alone."""
        return sum(one.spread for one in self.classes)

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `vr label list`."""
        return {
            "things": self.things,
            "given": self.given,
            "spread": self.spread,
            "coverage": (self.given + self.spread) / max(1, self.things),
            "classes": {
                one.label: {"given": one.given, "spread": one.spread} for one in self.classes
            },
            "batches": [one.as_json() for one in self.batches],
        }


def summarise(index: Path) -> LabelSummary:
    """Count the labels of an index. Raises InputError where there is none."""
    query = f"""
        SELECT label, sum(origin = '{GIVEN}'), sum(origin <> '{GIVEN}')
        FROM ({COUNTING}) GROUP BY label ORDER BY label
    """
    with closing(CatalogReader(index)) as catalog:
        ((things,),) = catalog.rows(_THINGS)
        classes = tuple(ClassCount(*row) for row in catalog.rows(query))
        return LabelSummary(int(things), classes, tuple(batches(catalog)))
