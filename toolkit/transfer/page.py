"""A classifier as one HTML page that needs nothing beside it: what it takes for what."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from toolkit.embedding_files import printable
from toolkit.images import encode_jpeg, shrink
from toolkit.pages import data_uri, page_template
from toolkit.transfer.confusion import (
    Measured,
    confusion_among,
    most_confused,
    worth_showing,
)
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.run import TransferFolder
from toolkit.transfer.settings import TransferSettings
from toolkit.workspace import write_bytes

MOST_CLASSES = 40  # of the matrix: more cannot be read
_MOST_MISTAKES = 20
_MOST_PICTURES = 24
_PIXELS = 96


@dataclass(frozen=True, slots=True)
class Story:
    """What a page tells of a transfer."""

    run: TransferFolder
    settings: TransferSettings
    store: PictureStore
    measured: Measured
    best_step: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """A held-out picture that was taken for another class, with which probability."""

    picture: str
    path: str
    given: str
    found: str
    probability: float


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: how many pictures it was learned from, tested on, and what came of those.

    recall: the share of its pictures that were found; precision: the share of what was taken
    for it that is; None where there was nothing.
    """

    name: str
    learned: int
    tested: int
    recall: float | None
    precision: float | None


def write_page(target: Path, story: Story) -> None:
    """Write the page. Raises StorageError."""
    measured, classes = story.measured, story.store.pictures.classes
    shown = worth_showing(measured, MOST_CLASSES)
    template = page_template("toolkit.transfer", "confusion.html")
    content = template.render(
        name=story.run.path.name,
        settings=story.settings,
        measured=measured,
        accuracy=measured.accuracy,
        best_step=story.best_step,
        classes=len(classes),
        learned=len(story.store.split.train),
        names=[classes[place] for place in shown],
        matrix=confusion_among(measured, shown).tolist(),
        of_each=np.bincount(measured.labels, minlength=len(classes))[shown].tolist(),
        mistakes=[
            (classes[given], classes[found], times)
            for given, found, times in most_confused(measured, _MOST_MISTAKES)
        ],
        rows=class_rows(story),
        wrong=_wrong(story),
        set_aside=len(story.store.pictures.set_aside),
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
    )
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def class_rows(story: Story) -> list[ClassRow]:
    """Every class, those of which fewest were found first."""
    measured, pictures = story.measured, story.store.pictures
    count = len(pictures.classes)
    right = measured.labels[measured.found == measured.labels]
    learned = np.bincount(pictures.labels[story.store.split.train], minlength=count).tolist()
    tested, taken, hits = (
        np.bincount(values, minlength=count).tolist()
        for values in (measured.labels, measured.found, right)
    )
    rows = [
        ClassRow(
            name,
            learned[place],
            tested[place],
            hits[place] / tested[place] if tested[place] else None,
            hits[place] / taken[place] if taken[place] else None,
        )
        for place, name in enumerate(pictures.classes)
    ]
    return sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)


def _wrong(story: Story) -> list[Wrong]:
    """Pictures that were taken for another class, the surest mistakes first."""
    measured, pictures = story.measured, story.store.pictures
    places = np.flatnonzero(measured.found != measured.labels)
    sure = measured.probabilities[places, measured.found[places]]
    chosen = places[np.argsort(-sure, kind="stable")[:_MOST_PICTURES]]
    rows = story.store.split.test[chosen]
    return [
        Wrong(
            data_uri(encode_jpeg(shrink(image, _PIXELS), quality=80)),
            printable(pictures.files[row].path),
            pictures.classes[measured.labels[place]],
            pictures.classes[measured.found[place]],
            float(measured.probabilities[place, measured.found[place]]),
        )
        for image, row, place in zip(story.store.take(rows), rows, chosen, strict=True)
    ]
