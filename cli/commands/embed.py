"""`vr embed`: pictures to vectors, without an index."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_EXPORTED, Device, Json, Model, Runtime, Threads
from cli.output import (
    count,
    emit,
    plain,
    progress_bar,
    say,
    show_line,
    visible,
    warn_set_aside,
)
from cli.query import read_query
from toolkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from toolkit.embedding import Embedder
    from toolkit.embedding_files import EmbeddedFiles
    from toolkit.images import RgbImage

_QUARANTINED = 3
_MOST_CLASSES = 5  # that one picture is told to be of
_FEW = 64  # up to so many pictures a quick start wins more than the slower pace costs


def embed(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the vectors, .npy or .safetensors; the names go into FILE.json.",
            show_default="one picture: to the standard output",
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Only this region of the picture, in pixels."),
    ] = None,
    model: Model = DEFAULT_EXPORTED,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Turn pictures into vectors: one on the standard output, many in a file.

    Two pictures are alike where the product of their vectors is near 1.
    """
    from deploy.runtimes import open_embedder
    from toolkit.picture_files import find_pictures

    paths = find_pictures(pictures)
    _check(paths, pictures, out, box)
    begun = time.perf_counter()
    embedder = open_embedder(model, runtime, device, threads, quick=len(paths) <= _FEW)
    try:
        if out is None:
            return _embed_one(paths[0], box, embedder, as_json=as_json)
        say(f"embedding with {plain(model)} on {embedder.runtime}")
        made = _embed_many(paths, out, box, embedder)
    finally:
        embedder.close()
    for path, reason in made.unreadable:
        warn_set_aside(path, reason)
    seconds = time.perf_counter() - begun
    if as_json:
        emit(as_contract(made, embedder, seconds))
    else:
        vectors = count(made.vectors, "vector")
        say(f"[bold]{vectors}[/] in {seconds:.1f} s, named in {plain(made.names)}")
        show_line(visible(made.out))
    return _QUARANTINED if made.unreadable else 0


def _check(paths: list[Path], given: list[Path], out: Path | None, box: str | None) -> None:
    from toolkit.vector_file import check_suffix

    if not paths:
        raise InputError(
            f"There is no picture in {', '.join(map(str, given))}.",
            mend="Give pictures, or folders of them.",
        )
    if out is not None:
        check_suffix(out)
    elif len(paths) > 1:
        raise UsageError(
            f"The vectors of {len(paths)} pictures need a file.", mend="Give --out vectors.npy."
        )
    if box is not None and len(paths) > 1:
        raise UsageError(
            f"--box names a region of one picture, and there are {len(paths)}.",
            mend="Give one picture, or leave --box out.",
        )


def _embed_one(path: Path, box: str | None, embedder: "Embedder", *, as_json: bool) -> int:
    from toolkit.embedding import embed_images

    picture = read_query(path, box)
    vector = embed_images(embedder, [picture])[0].tolist()
    named = _named(embedder, picture)
    if not as_json:
        for one in named.get("classes", ()):
            say(f"{100 * one['probability']:5.1f} %  {plain(one['class'])}")
        say(f"runtime: {embedder.runtime}")
        show_line(str(vector))
        return 0
    emit({"picture": str(path), "vector": vector, **named, **_model(embedder)})
    return 0


def _embed_many(
    paths: list[Path], out: Path, box: str | None, embedder: "Embedder"
) -> "EmbeddedFiles":
    from toolkit.embedding_files import embed_files

    with progress_bar("embedding", len(paths), count=True) as bar:
        return embed_files(
            embedder,
            paths,
            out,
            lambda done: bar.at(done, len(paths)),
            lambda p: read_query(p, box),
        )


def _named(embedder: "Embedder", picture: "RgbImage") -> dict[str, Any]:
    """What a classifier takes the picture for, the likeliest classes first; else nothing."""
    from toolkit.embedding import Classifier

    if not isinstance(embedder, Classifier) or not embedder.classes:
        return {}
    shares = embedder.classify(embedder.card.preprocessing.fit_batch([picture]))[0]
    order = (-shares).argsort(kind="stable")[:_MOST_CLASSES]
    return {
        "classes": [
            {"class": embedder.classes[place], "probability": float(shares[place])}
            for place in order
        ]
    }


def _model(embedder: "Embedder") -> dict[str, Any]:
    card = embedder.card
    return {"dim": card.dim, "fingerprint": card.fingerprint, "runtime": embedder.runtime}


def as_contract(made: "EmbeddedFiles", embedder: "Embedder", seconds: float) -> dict[str, Any]:
    """The `embed` contract of docs/formats.md."""
    return {
        "out": str(made.out),
        "names": str(made.names),
        "vectors": made.vectors,
        "quarantined": [{"picture": path, "reason": why} for path, why in made.unreadable],
        "seconds": round(seconds, 3),
        **_model(embedder),
    }
