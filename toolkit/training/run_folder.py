"""A run at rest: what lies where below runs/NAME, and which run is the latest."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.errors import InputError, MismatchError, UsageError
from toolkit.lock import holding
from toolkit.training.settings import TrainSettings
from toolkit.workspace import RUNS, atomic_folder, read_json, storage_errors, write_json

LATEST = "latest"
INITIAL = "initial.json"
SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a run was trained and measured on.

    patches: the folder of shards as it was given; digest: SHA-256 over the records
    and sizes of all pairs and their side; held_out: the keys of the pairs that it has not seen.
    """

    patches: str
    digest: str
    train_pairs: int
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run. replaces: whether a run that stands there gives way to a new one."""

    path: Path
    replaces: bool = False

    @property
    def checkpoints(self) -> Path:
        """The folder of last.pt and best.pt."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint; `--resume` goes on from it."""
        return self.checkpoints / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best recall@1 so far."""
        return self.checkpoints / "best.pt"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def resume_command(self) -> str:
        """What takes an interrupted run up again."""
        return resume_line("train", self.path)

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> Self:
        """A place for a new run; `begin` makes it. Raises UsageError where one stands.

        Nothing is written or removed yet: an old run stays until the new one begins.
        """
        check_free(path, SETTINGS, overwrite=overwrite)
        return cls(path, replaces=overwrite)

    def begin(
        self, settings: TrainSettings, data: DataRecord, initial: Mapping[str, Any] | None = None
    ) -> None:
        """Put the new run in the place of whatever is there. Raises StorageError.

        initial: what its weights began from (toolkit.networks.initial), if not drawn.
        """
        with atomic_folder(self.path) as draft:
            new = RunFolder(draft)
            new.checkpoints.mkdir()
            new._write_settings(settings, data)
            if initial:
                write_json(draft / INITIAL, dict(initial))

    def held(self) -> AbstractContextManager[None]:
        """Keep others from training or replacing the run. Raises StorageError if one does."""
        return holding(self.path, f"the run {self.path}")

    @contextmanager
    def claimed(self, mark: str = SETTINGS) -> Iterator[None]:
        """Hold the place of a new run: another of its name may have been made since `create`.

        mark: as in `check_free`. Raises StorageError, UsageError.
        """
        with self.held():
            check_free(self.path, mark, overwrite=self.replaces)
            yield

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run, or the one that runs/latest points to. Raises InputError."""
        if not (path / SETTINGS).is_file():
            raise InputError(
                f"There is no run at {path}.", mend="Train one with `vr train`, or give its folder."
            )
        return cls(path.parent / path.readlink() if path.is_symlink() else path)

    def make_latest(self) -> None:
        """Point runs/latest here, in one step. Raises StorageError."""
        link = self.path.parent / LATEST
        draft = self.path.parent / f".{LATEST}.{os.getpid()}"
        with storage_errors(link):
            draft.unlink(missing_ok=True)
            draft.symlink_to(self.path.name)
            draft.replace(link)

    def _write_settings(self, settings: TrainSettings, data: DataRecord) -> None:
        write_json(
            self.path / "data.json",
            {
                "patches": data.patches,
                "digest": data.digest,
                "train_pairs": data.train_pairs,
                "held_out": list(data.held_out),
            },
        )
        write_json(self.path / SETTINGS, settings.as_json())

    def read_initial(self) -> dict[str, Any]:
        """What the weights began from; empty where they were drawn. Raises MismatchError."""
        path = self.path / INITIAL
        return read_json(path, "record of the first weights") if path.exists() else {}

    def read_settings(self) -> TrainSettings:
        """Raises MismatchError or UsageError."""
        return TrainSettings.from_json(read_json(self.path / SETTINGS, "run settings"))

    def read_data(self) -> DataRecord:
        """Raises MismatchError."""
        path = self.path / "data.json"
        content = read_json(path, "data record")
        try:
            return DataRecord(
                str(content["patches"]),
                str(content["digest"]),
                int(content["train_pairs"]),
                tuple(map(str, content["held_out"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MismatchError(f"{path} is no data record: {error!r}.") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl; a torn last line (kill -9) is left out."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text().splitlines()
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                if number < len(lines):
                    raise MismatchError(f"{self.metrics}:{number} is no JSON: {error}.") from error
        return rows


def run_path(folder: Path, name: str) -> Path:
    """Where the run of a name lies: one folder below `folder`, never out of it.

    Raises UsageError.
    """
    if not name or Path(name).name != name:
        raise UsageError(
            f"{name!r} cannot be the name of a run.",
            mend="Use a plain word; --out says in which folder the runs lie.",
        )
    return folder / name


def check_free(path: Path, mark: str, *, overwrite: bool) -> None:
    """Refuse a place that no new run may take. Raises UsageError.

    mark: the file that makes a folder a run of the same kind; only such a one is replaced.
    """
    if not re.fullmatch(r"\w[\w.+-]*", path.name) or path.name == LATEST:
        raise UsageError(f"{path.name!r} cannot be the name of a run.", mend="Use a plain word.")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} is in the way of a run.", mend="Use another --name.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not (path / mark).is_file():
        raise UsageError(
            f"{path} is there and is no run of this kind; it is not replaced.",
            mend="Choose another --name, or move it away.",
        )
    if not overwrite:
        raise UsageError(
            f"The run {path} exists.",
            mend="Use --resume to go on, --overwrite to replace it, or another --name.",
        )


def resume_line(command: str, path: Path) -> str:
    """What a user types to take up the run at `path` again; command: that which made it."""
    out = "" if path.parent == RUNS else f" --out {path.parent}"
    return f"vr {command} --resume --name {path.name}{out}"
