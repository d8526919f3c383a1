"""A logger for TensorRT that keeps the errors for the message instead of printing them."""

from types import ModuleType
from typing import Any


def make_logger(trt: ModuleType) -> Any:
    """A logger of `trt`, the module tensorrt or tensorrt_rtx.

    `summary()` gives the first errors as one text. It has to live as long as what was made
    with it.
    """

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message.strip())

        def summary(self) -> str:
            return " ".join(self.errors[:3]) or "it gives no reason."

    return Logger()
