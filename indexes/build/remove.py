"""Take sources out of an index: patches, vectors, thumbnails and labels, in one transaction.

The vectors' rows stay in their segment until it is compacted, and are found no more at once.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.build.shadows import prune_shadows
from indexes.catalog.schema import FILE_NAME, catalog_errors, damaged
from indexes.catalog.writer import Catalog
from indexes.folder.sink import editing
from indexes.sources import printable
from toolkit.errors import InputError, UsageError
from toolkit.workspace import sha256_file

GLOB = frozenset("*?[")
# What a text may be compared with: what a source is called, and what it was read from.
_OF_INPUTS = "id IN (SELECT source FROM patches WHERE input IN (SELECT id FROM inputs WHERE {}))"
_NAMED = f"path = ?1 OR {_OF_INPUTS.format('path = ?1')}"
_LIKE = f"path GLOB ?1 OR {_OF_INPUTS.format('path GLOB ?1')}"
_CONTENT = f"sha256 = ?1 OR {_OF_INPUTS.format('sha256 = ?1')}"


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, or would be.

    sources: their paths; vectors, thumbnails, labels: how many went with them; read_again:
    files that other patches stay from, and which the next build that is given them reads
    once more; waiting: removed vectors whose rows a compaction will take away.
    """

    index: str
    sources: tuple[str, ...]
    vectors: int
    thumbnails: int
    labels: int
    read_again: tuple[str, ...]
    waiting: int

    def as_json(self) -> dict[str, Any]:
        """The contract of `vr index remove`."""
        return {
            "index": self.index,
            "sources": list(self.sources),
            "vectors": self.vectors,
            "thumbnails": self.thumbnails,
            "labels": self.labels,
            "read_again": list(self.read_again),
            "waiting": self.waiting,
        }


def remove(
    index: Path,
    sources: Sequence[str],
    cameras: Sequence[str] = (),
    *,
    dry_run: bool = False,
    wait_s: float = 0.0,
) -> Removal:
    """Remove images and videos, each as a whole, and all that came from them.

    sources: a path as the index lists it, a shell pattern for such paths, a shard or table
    that they were read from, or a file with the same content as one of these; cameras:
    everything that these filmed. A later build that is given the sources brings them back.
    dry_run: count, and change nothing.

    Raises InputError where one of them names nothing, or there is no index; StorageError,
    MismatchError.
    """
    if not sources and not cameras:
        raise nothing_named()
    with editing(index, wait_s) as catalog, catalog_errors(index / FILE_NAME):
        chosen = _chosen(catalog, sources, cameras)
        removal = _remove(catalog, chosen)
        if not dry_run:
            catalog.commit()
            prune_shadows(index)
    return removal


def nothing_named() -> UsageError:
    """The error for a removal of nothing."""
    return UsageError("Nothing was named to remove.", mend="Give a source or --camera NAME.")


def no_source(index: str, text: str) -> InputError:
    """The error for a text that names no source of an index."""
    return InputError(
        f"The index {index} has no source {printable(text)}.",
        mend="Name it as `vr search` shows it, by a pattern in quotes ('*/gate*.mp4'), "
        "or give a file with the same content.",
    )


def no_camera(index: str, camera: str, known: Sequence[str]) -> InputError:
    """The error for a camera that an index does not know; it knows some others."""
    return InputError(
        f"The index {index} has no camera {printable(camera)}.",
        mend=f"It has {', '.join(known) or 'none'}.",
    )


def _chosen(
    catalog: Catalog, sources: Sequence[str], cameras: Sequence[str]
) -> dict[int, tuple[str, str]]:
    """Path and identity of the sources that are meant, by id."""
    chosen: dict[int, tuple[str, str]] = {}
    for text in sources:
        found = _by_name(catalog, text) or _by_file(catalog, Path(text))
        if not found:
            raise no_source(printable(catalog.index), text)
        chosen |= found
    for camera in cameras:
        found = _select(catalog, "camera = ?1", (camera,))
        if not found:
            known = catalog.connection.execute(
                "SELECT DISTINCT camera FROM sources WHERE camera IS NOT NULL LIMIT 5"
            )
            raise no_camera(printable(catalog.index), camera, [name for (name,) in known])
        chosen |= found
    return chosen


def spellings(text: str) -> list[str]:
    """The ways to write a path that lead to the same file, as given first."""
    if not text:
        return []
    ways = (text, os.path.normpath(text), os.path.abspath(text), os.path.relpath(text))  # noqa: PTH100
    return list(dict.fromkeys(map(printable, ways)))


def _by_name(catalog: Catalog, text: str) -> dict[int, tuple[str, str]]:
    """By path as it is listed, or another way to write it, or else as a pattern."""
    for spelling in spellings(text):
        if found := _select(catalog, _NAMED, (spelling,)):
            return found
    if GLOB.isdisjoint(text):
        return {}
    return _select(catalog, _LIKE, (printable(text),))


def _by_file(catalog: Catalog, path: Path) -> dict[int, tuple[str, str]]:
    if not path.is_file():
        return {}
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(path)}: {error.strerror}.",
            mend="Name the source as `vr search` shows it instead.",
        ) from error
    return _select(catalog, _CONTENT, (digest,))


def _select(catalog: Catalog, where: str, values: Sequence[object]) -> dict[int, tuple[str, str]]:
    query = f"SELECT id, path, identity FROM sources WHERE {where}"
    found = catalog.connection.execute(query, values).fetchall()
    if not all(isinstance(path, str) for _, path, _ in found):
        raise damaged(catalog.index / FILE_NAME, "a source in it has no path")
    return {key: (path, same) for key, path, same in found}


def _remove(catalog: Catalog, chosen: dict[int, tuple[str, str]]) -> Removal:
    ids = json.dumps(sorted(chosen))
    thumbnails = _count(
        catalog,
        "thumbnails WHERE patch IN "
        "(SELECT id FROM patches WHERE source IN (SELECT value FROM json_each(?)))",
        (ids,),
    )
    labels = _count(catalog, "labels")
    gone, touched = catalog.remove_sources([(key, same) for key, (_, same) in chosen.items()])
    return Removal(
        index=str(catalog.index),
        sources=tuple(sorted(path for path, _ in chosen.values())),
        vectors=len(gone),
        thumbnails=thumbnails,
        labels=labels - _count(catalog, "labels"),
        read_again=tuple(path for path, keeps in touched if keeps),
        waiting=_count(catalog, "tombstones"),
    )


def _count(catalog: Catalog, what: str, values: Sequence[object] = ()) -> int:
    return int(catalog.connection.execute(f"SELECT count(*) FROM {what}", values).fetchone()[0])
