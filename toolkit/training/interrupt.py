"""Ctrl-C between two steps, never inside one: half an update must not be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's shape
        """The first Ctrl-C is noted; a second one interrupts at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_between_steps() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of raising; only the main thread can."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # Who was started not to hear a signal (nohup, the processes of one run) goes on so.
    both = (signal.SIGINT, signal.SIGTERM)
    signals = [number for number in both if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, request.ask) for number in signals]
    try:
        yield request
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
