"""What has to work before anything is imported: a Ctrl-C in the first moments of `vr`."""

import os
import signal
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a polite kill is a Ctrl-C from afar


def asks_for_json(arguments: list[str]) -> bool:
    """Whether `--json` is among the flags; behind `--` it would be the name of a file."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in flags


def end_at_once_when_interrupted(arguments: list[str]) -> None:
    """For as long as nothing is begun: say so and exit with 130.

    An exception would do as long as nothing is imported; raised inside an import it may end
    in a traceback, or be swallowed. What was set to be ignored goes on being so.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
        tell_interrupted(arguments)
        os._exit(INTERRUPTED)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def raise_when_interrupted() -> None:
    """While a command runs: drafts are removed, and what was finished is kept."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def end_silently_when_interrupted() -> None:
    """When all is done and told: the system ends the process, and no traceback comes of it."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def tell_interrupted(arguments: list[str]) -> None:
    """The error, written past Python's streams, which may be in the middle of something."""
    with suppress(OSError):  # nobody listens
        os.write(2, b"error: Interrupted.\n")
    if asks_for_json(arguments):
        with suppress(OSError):
            os.write(1, b'{"error": "Interrupted.", "mend": "", "exit_code": 130}\n')
