"""What to label next, for people: a page of pictures, a list to fill in, pictures to sort."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from indexes.labels.csv_lines import BOX, is_formula
from indexes.labels.folder_lines import suggested_name
from indexes.labels.suggest import Suggestion, Suggestions
from toolkit.errors import StorageError
from toolkit.pages import data_uri, page_template
from toolkit.workspace import storage_errors, write_bytes

_COLUMNS = ("id", "source", "time_s", *BOX, "track", "guess", "label")


def write_sheet(target: Path, found: Suggestions, index: str) -> None:
    """A page with the pictures of the suggestions; it needs nothing beside it.

    Raises StorageError.
    """
    template = page_template("indexes", "label_sheet.html")
    cards = [
        (one, None if one.thumbnail is None else data_uri(one.thumbnail))
        for one in found.suggestions
    ]
    content = template.render(cards=cards, index=index, things=found.things, given=found.given)
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def write_list(target: Path, suggestions: Sequence[Suggestion]) -> int:
    """A CSV whose column `label` is empty: fill it in, and import it. Raises StorageError.

    One that is there is kept: somebody may have begun to fill it in. How many lines have a
    text that is a formula to a spreadsheet.
    """
    if target.exists():
        raise StorageError(f"{target} is there already.", mend="Name another file.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in suggestions:
        place = one.place
        time_s = "" if place.time_s is None else place.time_s
        box = [f"{side:g}" for side in place.box]
        writer.writerow(
            (place.id, place.source, time_s, *box, place.track or "", one.guess or "", "")
        )
    write_bytes(target, text.getvalue().encode("utf-8", "backslashreplace"))
    texts = ((one.place.source, one.place.track or "", one.guess or "") for one in suggestions)
    return sum(any(map(is_formula, cells)) for cells in texts)


def write_pictures(folder: Path, suggestions: Sequence[Suggestion]) -> int:
    """The pictures of the suggestions, to be moved into a folder for each class.

    How many there are: an index of vectors alone has none. Raises StorageError.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = [(one.place.id, one.thumbnail) for one in suggestions if one.thumbnail is not None]
    for patch, thumbnail in pictures:
        write_bytes(folder / suggested_name(patch), thumbnail)
    return len(pictures)
