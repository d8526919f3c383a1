"""What the parts of labelling hand to each other.

A *thing* carries a label: a track, by its id (> 0), or a patch that has no track, by minus
its id.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 200
GIVEN, SPREAD = "given", "spread"  # origins of a label
IMPORT, SOURCE = "import", "source"  # kinds of a batch, beside "spread"


@dataclass(frozen=True, slots=True)
class Labelling:
    """A label for a thing; confidence: 0 to 1, and 1 for what a person gave."""

    thing: int
    label: str
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """One act of labelling.

    made_s: Unix time; kind: "import", "spread", or "source" for what came with the sources;
    labels: things that it labelled; counting: those of them whose label it still is.
    """

    id: int
    made_s: float
    kind: str
    settings: Mapping[str, Any]
    labels: int
    counting: int

    def as_json(self) -> dict[str, Any]:
        """As `vr label list` gives it."""
        return {
            "batch": self.id,
            "made_s": self.made_s,
            "kind": self.kind,
            "labels": self.labels,
            "counting": self.counting,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True, slots=True)
class Refused:
    """A line, or a file, whose label could not be used.

    line: its number in a list, from 1; None for a picture of a folder.
    """

    line: int | None
    name: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """As `vr label import` gives it."""
        return {"line": self.line, "name": self.name, "reason": self.reason}


def clean_label(text: str) -> str:
    """A label as it is kept: no spaces around it, accents composed (Unicode NFC).

    Raises ValueError, saying why, for one that is empty, too long or not all text.
    """
    label = unicodedata.normalize("NFC", text).strip()
    if not label:
        raise ValueError("the label is empty")
    if len(label) > MAX_LENGTH:
        raise ValueError(f"the label has {len(label)} characters; {MAX_LENGTH} are the most")
    if not label.isprintable():
        raise ValueError("the label holds a character that cannot be printed")
    return label
