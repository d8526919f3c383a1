"""A worker process: does one job after the other until its parent goes away."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import FrameType

from toolkit.mining.tally import Tally
from toolkit.mining.work.jobs import Job, attempt

READY = "ready"
_TELL_S = 0.2  # between two messages of progress


@dataclass(frozen=True, slots=True)
class Told:
    """How far a job has come."""

    footage_s: float
    pairs: int


def work(pipe: "Connection[object, object]") -> None:
    """The life of a worker; `pipe` brings jobs, and takes READY, Told and what came of them."""
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(EOFError, BrokenPipeError):  # the parent is done, or gone
        pipe.send(READY)
        while True:
            pipe.send(attempt(pipe.recv(), _teller(pipe)))  # type: ignore[arg-type]


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
    sys.exit(128 + number)  # by way of the blocks that remove their drafts


def _die_with_parent() -> None:
    # A worker that outlived its parent would write parts into the work of the next run.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _teller(pipe: "Connection[object, object]") -> Callable[[Job, Tally], None]:
    """Tells how far the job is, but not more often than anybody can see."""
    told_at = time.monotonic()

    def tell(_: Job, tally: Tally) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= _TELL_S:
            told_at = now
            pipe.send(Told(tally.footage_s, tally.pairs))

    return tell
