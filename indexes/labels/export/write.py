"""Labels to a file, or a folder, in the format that was asked for."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from indexes.catalog.reader import CatalogReader
from indexes.labels.export.coco import write_coco
from indexes.labels.export.csv_file import write_csv
from indexes.labels.export.fiftyone import write_fiftyone
from indexes.labels.export.pictures import Pictures
from indexes.labels.export.rows import LabelledPatch, class_names, labelled_patches
from toolkit.errors import InputError, StorageError, UsageError
from toolkit.workspace import atomic_file, atomic_folder

OnProgress = Callable[[int, int], None]  # patches done, of all
Format = Literal["csv", "coco", "fiftyone"]
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "coco", "": "fiftyone"}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """patches: with a label; unsized: sources whose size a COCO file lacks; formulas: patches
    with a text that a spreadsheet takes for one.
    """  # noqa: D205

    out: Path
    format: Format
    patches: int
    unsized: tuple[str, ...]
    formulas: int = 0

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `vr label export`."""
        return {
            "out": str(self.out),
            "format": self.format,
            "patches": self.patches,
            "unsized": list(self.unsized),
        }


def format_of(out: Path) -> Format:
    """The format that a name stands for. Raises UsageError for an unknown suffix."""
    try:
        return _SUFFIXES[out.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"{out} does not say in which format to export.",
            mend="Name a .csv, a .json (COCO) or a folder (FiftyOne), or give --format.",
        ) from None


def export_labels(
    index: Path,
    out: Path,
    form: Format | None = None,
    *,
    given_only: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write every labelled patch of an index, or those of what people labelled.

    on_progress: while frames are decoded. Raises InputError for an index without labels or,
    for FiftyOne, a source that cannot be read; StorageError where `out` is there and not to be
    overwritten, or cannot be written.
    """
    form = form or format_of(out)
    _check_target(out, overwrite=overwrite)
    with closing(CatalogReader(index)) as catalog:
        names = class_names(catalog, given_only=given_only)
        if not names:
            raise InputError(
                f"The index {index} has no labels to export.", mend="Give some: vr label import."
            )
        rows = partial(labelled_patches, catalog, given_only=given_only)
        pictures = Pictures()
        formulas = 0
        if form == "coco":
            with atomic_file(out) as draft, draft.open("wb") as stream:
                count = write_coco(rows, names, pictures, stream)
        elif form == "csv":
            with closing(rows()) as patches, atomic_file(out) as draft, draft.open("wb") as stream:
                count, formulas = write_csv(patches, stream)
        else:
            total = sum(1 for _ in rows())
            with closing(rows()) as patches, atomic_folder(out) as folder:
                count = write_fiftyone(_watched(patches, total, on_progress), names, folder)
    return ExportReport(out, form, count, tuple(sorted(pictures.missing)), formulas)


def _watched(
    patches: Iterable[LabelledPatch], total: int, on_progress: OnProgress | None
) -> Iterator[LabelledPatch]:
    for done, patch in enumerate(patches, start=1):
        yield patch
        if on_progress is not None:
            on_progress(done, total)


def _check_target(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise StorageError(f"{out} is there already.", mend="Give --overwrite, or another name.")
    if out.is_dir() and {path.name for path in out.iterdir()} - {"data", "labels.json"}:
        raise StorageError(
            f"{out} holds other things than exported labels.", mend="Name another folder."
        )
