"""A transfer at rest: a run like any other, with a classifier beside the network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.errors import InputError, MismatchError, UsageError
from toolkit.model_card import FILE_NAME
from toolkit.training.run_folder import LATEST, RunFolder
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.settings import TransferSettings
from toolkit.workspace import RUNS, atomic_folder, read_json, write_json

SETTINGS_NAME, LABELS_NAME, PAGE_NAME = "transfer.json", "labels.json", "report.html"


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture of a transfer. path: from the folder of labels; label: its class's place."""

    path: str
    sha256: str
    label: int
    held_out: bool


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """What a transfer learned from and was measured on.

    source: the folder or CSV file as it was given; root: the folder that the paths lie in.
    """

    source: str
    root: str
    digest: str
    classes: tuple[str, ...]
    pictures: Sequence[SeenPicture]

    @classmethod
    def of(cls, source: Path, root: Path, store: PictureStore) -> Self:
        """Of pictures that were read and split."""
        tested = set(store.split.test.tolist())
        known = store.pictures
        seen = [
            SeenPicture(
                _below(root, file.path), known.sha256[row], int(known.labels[row]), row in tested
            )
            for row, file in enumerate(known.files)
        ]
        return cls(str(source), str(root), store.digest(), known.classes, seen)

    def as_json(self) -> dict[str, Any]:
        """As it stands in labels.json."""
        return {
            "version": 1,
            "source": self.source,
            "root": self.root,
            "digest": self.digest,
            "classes": list(self.classes),
            "pictures": [[one.path, one.sha256, one.label, one.held_out] for one in self.pictures],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any], path: Path) -> Self:
        """The inverse of as_json. Raises MismatchError."""
        try:
            return cls(
                str(content["source"]),
                str(content["root"]),
                str(content["digest"]),
                tuple(map(str, content["classes"])),
                [
                    SeenPicture(str(name), str(sha256), int(label), bool(held_out))
                    for name, sha256, label, held_out in content["pictures"]
                ],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MismatchError(f"{path} is no record of labels: {error!r}.") from error


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


@dataclass(frozen=True, slots=True)
class TransferFolder:
    """The paths of one transfer; checkpoints and metrics lie as in `toolkit.training`."""

    path: Path

    @property
    def run(self) -> RunFolder:
        """The same folder as whoever logs and saves knows it."""
        return RunFolder(self.path)

    @property
    def page(self) -> Path:
        """The confusion matrix, for people."""
        return self.path / PAGE_NAME

    @property
    def resume_command(self) -> str:
        """What takes an interrupted transfer up again."""
        out = "" if self.path.parent == RUNS else f" --out {self.path.parent}"
        return f"vr transfer --resume --name {self.path.name}{out}"

    @property
    def is_finished(self) -> bool:
        """Whether the classifier is there."""
        return (self.path / FILE_NAME).is_file()

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> Self:
        """A place for a new transfer; `begin` makes it. Raises UsageError where one stands."""
        if not re.fullmatch(r"\w[\w.+-]*", path.name) or path.name == LATEST:
            raise UsageError(
                f"{path.name!r} cannot be the name of a run.", mend="Use a plain word."
            )
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UsageError(f"{path} is in the way of a run.", mend="Use another --name.")
        there = path.is_dir() and any(path.iterdir())
        if there and not is_transfer(path):
            raise UsageError(
                f"{path} is there and was made by no `vr transfer`; it is not replaced.",
                mend="Choose another --name, or move it away.",
            )
        if there and not overwrite:
            raise UsageError(
                f"The run {path} exists.",
                mend="Use --resume to go on, --overwrite to replace it, or another --name.",
            )
        return cls(path)

    def begin(self, settings: TransferSettings, base: Path, labels: LabelRecord) -> None:
        """Put the new transfer in the place of whatever is there. Raises StorageError."""
        with atomic_folder(self.path) as draft:
            RunFolder(draft).checkpoints.mkdir()
            write_json(draft / LABELS_NAME, labels.as_json())
            content = {"version": 1, "base": str(base), "settings": settings.as_json()}
            write_json(draft / SETTINGS_NAME, content)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing transfer. Raises InputError."""
        if not is_transfer(path):
            raise InputError(
                f"There is no run of `vr transfer` at {path}.", mend="Begin one without --resume."
            )
        return cls(path)

    def read_settings(self) -> tuple[TransferSettings, Path]:
        """The settings, and the run whose network it began from. Raises MismatchError."""
        path = self.path / SETTINGS_NAME
        content = read_json(path, "settings of a transfer")
        try:
            return TransferSettings.from_json(content["settings"]), Path(content["base"])
        except (KeyError, TypeError) as error:
            raise MismatchError(f"{path} is no settings of a transfer: {error!r}.") from error

    def read_labels(self) -> LabelRecord:
        """What it learned from. Raises MismatchError."""
        path = self.path / LABELS_NAME
        return LabelRecord.from_json(read_json(path, "record of labels"), path)

    def find(self, noted: str, given: Path | None = None) -> Path:
        """Where something noted lies now: `given`, or as noted, or below a folder above the run.

        Raises MismatchError where there is nothing.
        """
        path = Path(noted)
        above = () if path.is_absolute() else self.path.resolve().parents
        tried = [path, *(folder / path for folder in above)] if given is None else [given]
        for place in tried:
            if place.exists():
                return place
        raise MismatchError(
            f"The labelled pictures of {self.path} are not at {tried[0]}.",
            mend="Bring them back, or say where they are: `vr export --patches FOLDER`, "
            "`vr transfer --resume FOLDER`.",
        )


def is_transfer(path: Path) -> bool:
    """Whether a folder is a run of `vr transfer`."""
    return (path / SETTINGS_NAME).is_file()
