"""Who does the jobs: this process, processes of this machine, or the nodes of a Ray cluster."""

from collections import deque
from typing import Protocol

from toolkit.mining.work.jobs import Done, Job, OnTally, attempt


class Executor(Protocol):
    """Takes jobs and gives back what came of them, in any order.

    A job that took its worker down with it is done once more by another, and only then
    comes back as Trouble. notes: what happened to workers that a person should know.
    """

    notes: list[str]

    def free(self) -> int:
        """How many more jobs it wants now."""
        ...

    def start(self, job: Job) -> None:
        """Take a job. Raises VrError where there can be no worker at all."""
        ...

    def next(self, timeout_s: float) -> Done | None:
        """The next job that is done, or None where there is none in that time."""
        ...

    def close(self) -> None:
        """Stop, and leave what is under way undone."""
        ...


class InProcess:
    """Does the jobs here, one after the other."""

    def __init__(self, on_tally: OnTally) -> None:
        self.notes: list[str] = []
        self._on_tally = on_tally
        self._jobs: deque[Job] = deque()

    def free(self) -> int:
        """One, while it is idle."""
        return 1 - len(self._jobs)

    def start(self, job: Job) -> None:
        """Keep the job until somebody asks for what came of it."""
        self._jobs.append(job)

    def next(self, timeout_s: float) -> Done | None:  # noqa: ARG002 - the protocol's
        """Do the job; it takes as long as it takes."""
        if not self._jobs:
            return None
        job = self._jobs.popleft()
        return Done(job, attempt(job, self._on_tally))

    def close(self) -> None:
        """Nothing is under way here."""
