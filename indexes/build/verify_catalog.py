"""What is wrong inside the catalog's file, as far as that can be seen: a text a problem."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from indexes.catalog.place_check import ODD_PATCH, ODD_SOURCE, ODD_THUMBNAIL
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME
from indexes.catalog.sums import HAS_SUMS, WITH_SUMS, WITHOUT_SUMS, row_sum
from toolkit.errors import ImageError, MismatchError

OnRow = Callable[[int], None]  # patches that were looked at

_LISTED = 20  # of what SQLite finds wrong
_NAMED = 5
_TOLD = 1024  # patches
_HALVES = (
    ("sources", "NOT EXISTS (SELECT 1 FROM patches WHERE source = sources.id)"),
    ("tracks", "NOT EXISTS (SELECT 1 FROM patches WHERE track = tracks.id)"),
)
_ODD = (("patches", ODD_PATCH), ("sources", ODD_SOURCE), ("thumbnails", ODD_THUMBNAIL))
# SQLite takes any bytes for a text; Python reads them as UTF-8.
_TEXTS = (
    ("meta", "key, value"),
    ("inputs", "path, sha256, kind, reading"),
    ("shared", "identity"),
    ("sources", "path, sha256, identity, kind, camera"),
    ("tracks", "name"),
    ("label_batches", "kind, settings"),
    ("labels", "label, origin"),
)


def catalog_problems(catalog: CatalogReader, on_row: OnRow | None = None) -> Iterator[str]:
    """Structure, references, texts, places, and each patch with its thumbnail.

    Patches that were written without a sum have their thumbnails decoded instead, which
    finds less. Raises MismatchError where SQLite cannot go on.
    """
    path = catalog.index / FILE_NAME
    for (text,) in catalog.rows(f"PRAGMA integrity_check({_LISTED})"):
        if text != "ok":
            yield f"{path} is damaged: {text}."
    for table, row, parent, _ in list(catalog.rows("PRAGMA foreign_key_check"))[:_LISTED]:
        yield f"{path}: row {row} of {table} names nothing in {parent}."
    for what, tables in (("have no patch", _HALVES), ("hold what is none", _ODD)):
        for table, where in tables:
            ((count,),) = catalog.rows(f"SELECT count(*) FROM {table} WHERE {where}")
            if count:
                yield f"{path}: {count} rows of {table} {what}."
    for table, columns in _TEXTS:
        yield from _text_problems(catalog, f"SELECT {columns} FROM {table}")
    yield from _patch_problems(catalog, on_row)


def _text_problems(catalog: CatalogReader, query: str) -> Iterator[str]:
    try:
        for _ in catalog.rows(query):
            pass
    except MismatchError as error:
        yield error.problem


def _patch_problems(catalog: CatalogReader, on_row: OnRow | None) -> Iterator[str]:
    ((summed,),) = catalog.rows(HAS_SUMS)
    changed: list[int] = []
    unreadable: list[int] = []
    for done, row in enumerate(catalog.rows(WITH_SUMS if summed else WITHOUT_SUMS), start=1):
        *patch, thumbnail, known = row
        if known is None:
            if not _is_picture(thumbnail):
                unreadable.append(patch[0])
        elif not _has_sum(patch, thumbnail, known):
            changed.append(patch[0])
        if on_row is not None and done % _TOLD == 0:
            on_row(done)
    path = catalog.index / FILE_NAME
    if changed:
        yield f"{path}: {_some(changed, 'have not the place or picture that was written')}."
    if unreadable:
        yield f"{path}: {_some(unreadable, 'have a thumbnail that cannot be read')}."


def _has_sum(patch: list[Any], thumbnail: Any, known: Any) -> bool:
    try:
        return bool(row_sum(patch, thumbnail) == known)
    except (TypeError, struct.error):
        return False


def _is_picture(thumbnail: Any) -> bool:
    from toolkit.images import decode_image

    if thumbnail is None:  # there is none of a vector from a table
        return True
    if not isinstance(thumbnail, bytes):
        return False
    try:
        decode_image(thumbnail, name="thumbnail")
    except ImageError:
        return False
    return True


def _some(patches: list[int], what: str) -> str:
    more = " ..." if len(patches) > _NAMED else ""
    return f"{len(patches)} patches {what}: {', '.join(map(str, patches[:_NAMED]))}{more}"
