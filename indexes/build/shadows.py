"""What leaves an index leaves the shadows too: the indexes of upgrades that have not ended."""

from contextlib import closing
from pathlib import Path

from indexes.build.merge import Merging, merge
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME, catalog_errors
from indexes.folder.files import shadow_folders
from indexes.folder.sink import editing
from toolkit.lock import is_being_written


def prune_shadows(index: Path) -> None:
    """Take out of the shadows, vectors and all, the sources that the index does not have.

    One that an upgrade is filling just now is left to it. Raises StorageError, MismatchError.
    """
    folders = [
        folder
        for folder in shadow_folders(index)
        if (folder / FILE_NAME).is_file() and not is_being_written(folder)
    ]
    if not folders:
        return
    with closing(CatalogReader(index)) as catalog:
        known = set(catalog.rows("SELECT identity, kind FROM sources"))
    for folder in folders:
        _prune(folder, known)


def _prune(folder: Path, known: set[tuple[str, str]]) -> None:
    with editing(folder) as shadow, catalog_errors(folder / FILE_NAME):
        there = shadow.connection.execute("SELECT id, identity, kind FROM sources").fetchall()
        unknown = [(key, same) for key, same, kind in there if (same, kind) not in known]
        if not unknown:
            return
        shadow.remove_sources(unknown)
        merge(shadow, Merging(tuple(shadow.segments()), None))
        shadow.commit()
        shadow.give_back_space()
