"""Every error that vr raises on purpose.

    VrError                      1   something a user can mend
    ├── UsageError               2   the command line or a setting is wrong
    ├── InputError               1   an input cannot be used
    │   ├── VideoError               (DamagedVideoError: readable in part)
    │   ├── ImageError
    │   ├── ShardError
    │   └── TooFewHeldOutError       nothing to measure recall on
    ├── TrainingError            1   a run went wrong and cannot go on
    ├── StorageError             1   a target cannot be written
    ├── QualityGateError         4   an artefact was made but is not good enough
    ├── MismatchError            5   artefacts do not belong together, or are damaged
    ├── MissingError             6   a GPU or a dependency is not there
    └── Interrupted            130   somebody pressed Ctrl-C; the work can be taken up again

The number is the exit code of the command. Anything else that escapes is a bug and
keeps its traceback.
"""

from typing import ClassVar


class VrError(Exception):
    """An error with a remedy: `problem` says what is wrong, `mend` how to put it right."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, mend: str = "") -> None:
        super().__init__(problem, mend)
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.problem} {self.mend}".strip()


class UsageError(VrError):
    """The command line or a setting is wrong."""

    exit_code = 2


class InputError(VrError):
    """An input cannot be used."""


class VideoError(InputError):
    """A video cannot be opened or decoded."""


class ImageError(InputError):
    """An image cannot be read."""


class ShardError(InputError):
    """A pair shard is damaged or is not one."""


class TooFewHeldOutError(InputError):
    """The held-out pairs are too few, or too much alike, to measure recall on."""


class TrainingError(VrError):
    """A training run went wrong and cannot go on."""


class StorageError(VrError):
    """A target cannot be written: no space, no permission, or something is in the way."""


class QualityGateError(VrError):
    """An artefact was made, but it does not reach the quality that was asked for."""

    exit_code = 4


class MismatchError(VrError):
    """Artefacts do not belong together, or one of them is damaged."""

    exit_code = 5


class MissingError(VrError):
    """A GPU or an optional dependency is not there."""

    exit_code = 6


class Interrupted(VrError):  # noqa: N818 - an event, not a fault
    """Somebody pressed Ctrl-C; what was done is saved and can be taken up again."""

    exit_code = 130
