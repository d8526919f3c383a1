"""Who looks on while a source is read: how far it is, and what was taken for granted."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watch:
    """part: told the share of a source that was read, 0 to 1, as it goes; note: told, as text
    for people, what was assumed where a source does not say.
    """  # noqa: D205

    part: Callable[[float], None]
    note: Callable[[str], None]


def _ignore(_: object) -> None:
    pass


SILENT = Watch(_ignore, _ignore)
