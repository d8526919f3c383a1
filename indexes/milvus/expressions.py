"""Conditions in Milvus's language, of whole numbers and seconds only.

Paths, cameras, labels and tracks never stand in a condition: they are turned into numbers
first (`keys`, `filters`), so that no name can change its meaning.
"""

import math
from collections.abc import Iterable

# Where there is no time; Milvus's embedded engine has no empty fields.
NO_TIME = -1.0e300
_BOUND_S = 1.0e299


def among(field: str, values: Iterable[int]) -> str:
    """The field is one of the values. Raises ValueError for none: nothing would be found."""
    numbers = [str(int(value)) for value in values]
    if not numbers:
        raise ValueError(f"{field} is to be one of no values")
    return f"{field} in [{','.join(numbers)}]"


def none_of(field: str, values: Iterable[int]) -> str:
    """The field is none of the values; empty for no values."""
    numbers = [str(int(value)) for value in values]
    return f"{field} not in [{','.join(numbers)}]" if numbers else ""


def equal(field: str, value: int) -> str:
    """The field is the value."""
    return f"{field} == {int(value)}"


def at_most(field: str, value: int) -> str:
    """The field is the value or less."""
    return f"{field} <= {int(value)}"


def above(field: str, value: int) -> str:
    """The field is more than the value."""
    return f"{field} > {int(value)}"


def between(field: str, start_s: float, end_s: float) -> str | None:
    """Seconds, both ends included; None where nothing lies between. What has no time is out."""
    if math.isnan(start_s) or math.isnan(end_s) or start_s > end_s:
        return None
    first, last = max(float(start_s), -_BOUND_S), min(float(end_s), _BOUND_S)
    return f"{field} >= {first!r} and {field} <= {last!r}"


def all_of(*conditions: str) -> str:
    """Every one of the conditions; empty ones say nothing."""
    return " and ".join(condition for condition in conditions if condition)
