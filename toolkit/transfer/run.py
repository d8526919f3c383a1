"""A transfer at rest: a run like any other, with a classifier beside the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.errors import InputError, MismatchError
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.training.run_folder import RunFolder, check_free, resume_line
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.settings import TransferSettings
from toolkit.workspace import atomic_folder, read_json, write_json

SETTINGS_NAME, LABELS_NAME, PAGE_NAME = "transfer.json", "labels.json", "report.html"
RECIPE = "transfer"  # in the lineage of a network that learned from labels


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
class Base:
    """What a transfer began from. path: the run, as it was given; fingerprint: its network's."""

    path: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class TransferFolder:
    """The paths of one transfer; checkpoints and metrics lie as in `toolkit.training`.

    replaces: whether a transfer that stands there gives way to a new one.
    """

    path: Path
    replaces: bool = False

    @property
    def run(self) -> RunFolder:
        """The same folder as whoever logs and saves knows it."""
        return RunFolder(self.path, self.replaces)

    @property
    def page(self) -> Path:
        """The confusion matrix, for people."""
        return self.path / PAGE_NAME

    @property
    def resume_command(self) -> str:
        """What takes an interrupted transfer up again."""
        return resume_line("transfer", self.path)

    @property
    def is_finished(self) -> bool:
        """Whether the classifier is there."""
        return (self.path / FILE_NAME).is_file()

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> Self:
        """A place for a new transfer; `begin` makes it. Raises UsageError where one stands."""
        check_free(path, SETTINGS_NAME, overwrite=overwrite)
        return cls(path, replaces=overwrite)

    def begin(self, settings: TransferSettings, base: Base, labels: LabelRecord) -> None:
        """Put the new transfer in the place of whatever is there. Raises StorageError."""
        with atomic_folder(self.path) as draft:
            RunFolder(draft).checkpoints.mkdir()
            write_json(draft / LABELS_NAME, labels.as_json())
            content = {
                "version": 1,
                "base": str(base.path),
                "base_fingerprint": base.fingerprint,
                "settings": settings.as_json(),
            }
            write_json(draft / SETTINGS_NAME, content)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing transfer. Raises InputError."""
        if not is_transfer(path):
            raise InputError(
                f"There is no run of `vr transfer` at {path}.", mend="Begin one without --resume."
            )
        return cls(path)

    def read_settings(self) -> tuple[TransferSettings, Base]:
        """The settings, and what it began from. Raises MismatchError."""
        path = self.path / SETTINGS_NAME
        content = read_json(path, "settings of a transfer")
        try:
            settings = TransferSettings.from_json(content["settings"])
            return settings, Base(Path(content["base"]), str(content["base_fingerprint"]))
        except (KeyError, TypeError) as error:
            raise MismatchError(f"{path} is no settings of a transfer: {error!r}.") from error

    def read_labels(self) -> LabelRecord:
        """What it learned from. Raises MismatchError."""
        path = self.path / LABELS_NAME
        return LabelRecord.from_json(read_json(path, "record of labels"), path)

    def find_labels(self, noted: str, given: Path | None = None) -> Path:
        """Where the labelled pictures lie now: `given`, or as `_place` has it. MismatchError."""
        place = self._place(Path(noted)) if given is None else given
        if place is None or not place.exists():
            raise MismatchError(
                f"The labelled pictures of {self.path} are not at {given or noted}.",
                mend="Bring them back, or say where they are: `vr export --patches FOLDER`, "
                "`vr transfer --resume FOLDER`.",
            )
        return place

    def find_base(self) -> Path:
        """The run that it began from, with the same network still. Raises MismatchError."""
        noted = self.read_settings()[1]
        place = self._place(noted.path)
        if place is None or not (place / FILE_NAME).is_file():
            raise MismatchError(
                f"The run {noted.path} that {self.path} began from is not there.",
                mend="Bring it back, or begin anew from another run.",
            )
        if ModelCard.read(place).fingerprint != noted.fingerprint:
            raise MismatchError(
                f"{place} holds another network than when {self.path} began from it.",
                mend="Bring the old one back, or begin anew.",
            )
        return place

    def _place(self, noted: Path) -> Path | None:
        """Where something noted as it was given lies: from here, or below a folder above."""
        above = () if noted.is_absolute() else self.path.resolve().parents
        tried = (noted, *(folder / noted for folder in above))
        return next((place for place in tried if place.exists()), None)


def is_transfer(path: Path) -> bool:
    """Whether a folder is a run of `vr transfer`."""
    return (path / SETTINGS_NAME).is_file()
