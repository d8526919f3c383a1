"""TensorBoard events, written at once.

The usual writer hands events to a thread of its own. On a full disk that thread dies, says so
in a traceback, and leaves a process that cannot end; here the caller gets the error.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.workspace import storage_errors


class Board:
    """One file of events; what earlier files hold from `from_step` on is no longer shown."""

    def __init__(self, folder: Path, *, from_step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder = folder
        begin = SessionLog(status=SessionLog.START)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # To the nanosecond: a run that goes on within the second gets a file of its own.
            self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
            self._writer.write_event(Event(step=from_step, session_log=begin))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """A point of a curve. Raises StorageError, as all of these do."""
        from tensorboardX import summary

        self._add(summary.scalar(name, value), step)

    def add_text(self, name: str, text: str, step: int) -> None:
        """Words for people."""
        from tensorboardX import summary

        self._add(summary.text(name, text), step)

    def add_image(self, name: str, picture: RgbImage, step: int) -> None:
        """A picture, uint8 RGB."""
        from tensorboardX import summary

        self._add(summary.image(name, picture, dataformats="HWC"), step)

    def add_histogram(self, name: str, values: NDArray[np.float32], step: int) -> None:
        """How values (N,) are distributed."""
        from tensorboardX import summary

        self._add(summary.histogram(name, values, bins="auto"), step)

    def _add(self, content: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(summary=content, step=step, wall_time=time.time())
        with storage_errors(self._folder):
            self._writer.write_event(event)

    def close(self) -> None:
        """Flush and close."""
        with storage_errors(self._folder):
            self._writer.close()
