"""Pictures in files to a file of vectors, with the names of its rows beside it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.embedding import Embedder
from toolkit.errors import InputError
from toolkit.images import RgbImage, read_image
from toolkit.picture_files import PictureBatch, read_batches
from toolkit.vector_file import write_vectors
from toolkit.workspace import sha256_file, write_json

BATCH = 32

Read = Callable[[Path], RgbImage]
OnProgress = Callable[[int], None]  # how many pictures are done


@dataclass(frozen=True, slots=True)
class EmbeddedFiles:
    """What was made. names: the JSON beside the vectors; unreadable: path and reason."""

    out: Path
    names: Path
    vectors: int
    unreadable: tuple[tuple[str, str], ...]


def printable(path: Path | str) -> str:
    """The path or name as text that JSON takes everywhere; odd bytes become \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def embed_files(
    embedder: Embedder,
    paths: Sequence[Path],
    out: Path,
    on_progress: OnProgress = lambda _: None,
    read: Read = read_image,
) -> EmbeddedFiles:
    """Embed pictures, a batch at a time, into OUT: float32 (rows, dim), and OUT.json.

    A row is a picture that could be read, in the order of `paths`; the JSON names them, and
    the network, and holds the SHA-256 of OUT, since the two files come to be one after the
    other. Raises UsageError for another suffix than .npy and .safetensors, StorageError,
    InputError where no picture can be read: nothing is written then.
    """
    names: list[str] = []
    unreadable: list[tuple[str, str]] = []
    with write_vectors(out, embedder.card.dim) as writer:
        for batch in read_batches(paths, embedder.card.preprocessing, BATCH, read):
            writer.add(embedder.embed(batch.images))
            names += map(printable, batch.paths)
            unreadable += _reasons(batch)
            on_progress(len(names) + len(unreadable))
        if not names:
            raise InputError(
                f"No picture can be read: {unreadable[0][1]}"
                if unreadable
                else "There are no pictures to embed.",
                mend="Give pictures, or folders of them.",
            )
    beside = out.with_name(f"{out.name}.json")
    write_json(beside, _description(embedder, out, names))
    return EmbeddedFiles(out, beside, len(names), tuple(unreadable))


def _reasons(batch: PictureBatch) -> list[tuple[str, str]]:
    return [(printable(path), reason) for path, reason in batch.unreadable]


def _description(embedder: Embedder, out: Path, names: list[str]) -> dict[str, object]:
    return {
        "version": 1,
        "vectors": printable(Path(out.name)),
        "sha256": sha256_file(out),
        "dim": embedder.card.dim,
        "fingerprint": embedder.card.fingerprint,
        "runtime": embedder.runtime,
        "pictures": names,
    }
