"""What a worker is asked to do, and what it answers, wherever it runs."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.errors import InputError, VrError
from toolkit.mining.tally import Tally
from toolkit.mining.work.parts import Part
from toolkit.mining.work.survey import Survey, Surveyed, survey
from toolkit.mining.work.unit import Unit, mine_unit

Job = Survey | Unit


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job gave no result. An error would lose its remedy on the way between processes.

    kind: of the error, or None where something failed that never should: a bug, or a worker
    that died; traceback: of a bug, else empty.
    """

    kind: type[VrError] | None
    problem: str
    mend: str = ""
    traceback: str = ""

    @property
    def is_of_the_video(self) -> bool:
        """Whether other videos can go on; else nothing can, such as on a full disk."""
        return self.kind is None or issubclass(self.kind, InputError)

    def as_error(self) -> VrError:
        """The error again."""
        return (self.kind or VrError)(self.problem, mend=self.mend)


@dataclass(frozen=True, slots=True)
class Done:
    """A job and what came of it."""

    job: Job
    result: Surveyed | Part | Trouble


OnTally = Callable[[Job, Tally], None]


def attempt(job: Job, on_tally: OnTally | None = None) -> Surveyed | Part | Trouble:
    """Do a job, and answer with what came of it, whatever that is."""
    try:
        if isinstance(job, Survey):
            return survey(job)
        tally = Tally()
        if on_tally is not None:
            tally.on_frame = lambda tally: on_tally(job, tally)
        return mine_unit(job, tally)
    except VrError as error:
        return Trouble(type(error), error.problem, error.mend)
    except OSError as error:
        if isinstance(job, Survey):
            return Trouble(InputError, f"It cannot be read: {error.strerror}.")
        return _bug(error)
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> Trouble:
    """One odd video must not end the work on thousands of others; its traceback is kept."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = traceback.format_exception_only(error)[-1].strip()
    return Trouble(
        None,
        f"vr failed on it, which is a bug: {what} ({place.name}, line {place.lineno}).",
        traceback="".join(traceback.format_exception(error)),
    )
