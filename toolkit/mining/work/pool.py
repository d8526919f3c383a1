"""Worker processes of this machine, each known by what it does, so that a death has a name."""

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from toolkit.errors import VrError
from toolkit.mining.work.jobs import Done, Job, Trouble
from toolkit.mining.work.survey import Survey
from toolkit.mining.work.worker import READY, Told, work

_TRIES = 2
_STOP_S = 5.0  # for a worker to remove its draft

OnTold = Callable[[Job, Told], None]


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: "Connection[object, object]"
    job: Job | None = None


class WorkerPool:
    """At most `workers` processes, started when there is work for them."""

    def __init__(self, workers: int, on_told: OnTold) -> None:
        self.notes: list[str] = []
        self._size = workers
        self._on_told = on_told
        self._workers: list[_Worker] = []
        self._deaths: Counter[Job] = Counter()
        self._done: deque[Done] = deque()
        self._any_began = False

    def free(self) -> int:
        """The workers that are idle or were not started yet."""
        return self._size - sum(worker.job is not None for worker in self._workers)

    def start(self, job: Job) -> None:
        """Give the job to an idle worker, or to a new one."""
        worker = next((w for w in self._workers if w.job is None), None)
        if worker is None:
            worker = _new_worker()
            self._workers.append(worker)
        worker.job = job
        try:
            worker.pipe.send(job)
        except OSError:  # it died while it was idle
            self._bury(worker)

    def next(self, timeout_s: float) -> Done | None:
        """The next job that is done; while waiting, progress is told and the dead are replaced.

        Raises VrError where workers die before they have begun.
        """
        if not self._done:
            busy = {w.pipe: w for w in self._workers if w.job is not None}
            for pipe in wait(list(busy), timeout_s):
                self._hear(busy[pipe])  # type: ignore[index]
        return self._done.popleft() if self._done else None

    def close(self) -> None:
        """End the workers; parts that are finished stay."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _hear(self, worker: _Worker) -> None:
        # The far end of the pipe closes with the worker, so an end is a death.
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.job is None:
            raise RuntimeError(f"a worker without a job said {message!r}")
        if message == READY:
            self._any_began = True
        elif isinstance(message, Told):
            self._on_told(worker.job, message)
        else:
            self._done.append(Done(worker.job, message))  # type: ignore[arg-type]
            worker.job = None

    def _bury(self, worker: _Worker) -> None:
        """Take a dead worker away; its job is done once more by a new one."""
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        job, how = worker.job, _how(worker.process.exitcode)
        if not self._any_began:
            raise VrError(
                f"The worker processes cannot start: one {how} before it began.",
                mend="Look at what it printed above, or mine in this process: --workers 0.",
            )
        if job is None:
            return
        self._deaths[job] += 1
        if self._deaths[job] < _TRIES:
            self.notes.append(f"a worker {how} on {_what(job)}; another one did it again")
            self.start(job)
        else:
            problem = f"Two workers died of {_what(job)}; the last one {how}."
            mend = "If memory ran out, mine with fewer --workers."
            self._done.append(Done(job, Trouble(None, problem, mend)))


def _what(job: Job) -> str:
    if isinstance(job, Survey):
        return str(job.path)
    return f"segment {job.segment.index} of {job.source.path}"


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = f"signal {-exit_code}"
        hint = " (perhaps memory ran out)" if name == "SIGKILL" else ""
        return f"was ended by {name}{hint}"
    return f"ended with exit code {exit_code}"


def _new_worker() -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would share FFmpeg's and cv2's locks
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True, name="vr-mine-worker")
    # Blocked until the worker ignores it: a Ctrl-C while it starts would print its traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return _Worker(process, ours)
