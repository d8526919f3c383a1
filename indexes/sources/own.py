"""What vr itself wrote is no footage: its folders are known by what is in them.

A name is not enough: a user's own folder may be called `index`, and must not vanish.
"""

import re
from collections.abc import Set as AbstractSet
from pathlib import Path

# Each row: names that stand in one folder together.
_MARKS = (
    {"catalog.sqlite"},  # an index
    {"model.onnx", "model.json"},  # a bundle
    {"model.safetensors", "model.json"},  # a run
    {"settings.json", "checkpoints"},  # a run that has not come to its end
    {".vr-demo"},  # the folder of `vr demo`
)
_ENTRY = re.compile(r"[0-9a-f]{64}\.json")
_PATCHES = {"audit.json", "contact_sheet.png"}


def is_own(folder: Path, names: AbstractSet[str]) -> bool:
    """Whether vr wrote a folder, in which `names` are. Raises OSError."""
    return any(mark <= names for mark in _MARKS) or is_mined(folder, names)


def is_mined(folder: Path, names: AbstractSet[str]) -> bool:
    """Whether a folder holds mined pairs. Raises OSError."""
    if names >= _PATCHES:
        return True
    ledger = folder / "ledger"
    return (
        "ledger" in names
        and ledger.is_dir()
        and any(_ENTRY.fullmatch(entry.name) for entry in ledger.iterdir())
    )
