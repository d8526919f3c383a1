"""What a run measured: metrics.jsonl for programs, TensorBoard events for people."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from toolkit.errors import StorageError
from toolkit.training.board import Board
from toolkit.training.run_folder import RunFolder
from toolkit.workspace import storage_errors, write_bytes


class MetricsLog:
    """Appends rows to both files; a resumed run first drops what lies behind its step."""

    def __init__(self, run: RunFolder, *, from_step: int) -> None:
        self._path = run.metrics
        kept = [row for row in run.read_metrics() if row["step"] <= from_step]
        write_bytes(self._path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        with storage_errors(self._path):
            self._stream = self._path.open("a")
        self.board = Board(run.path / "tensorboard", from_step=from_step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """One row; each value is also a TensorBoard scalar. Raises StorageError."""
        # JSON has no NaN: a loss that is not finite is written as null, never as a bare word.
        row = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._append({"step": step, **row})
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def note(self, step: int, name: str, text: str) -> None:
        """A row with a text for people instead of figures. Raises StorageError."""
        self._append({"step": step, name: text})
        self.board.add_text(name, text, step)

    def _append(self, row: Mapping[str, object]) -> None:
        with storage_errors(self._path):
            self._stream.write(json.dumps(row) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What was raised before says more than what closing a full file would.
        with suppress(StorageError) if error else nullcontext():
            try:
                with storage_errors(self._path):
                    self._stream.close()
            finally:
                self.board.close()
