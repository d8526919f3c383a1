"""The options that several commands share: one name, one meaning, one help text."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.workspace import EXPORTED, INDEX, PATCHES, RUNS

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU if any.")
]
Runtime = Annotated[
    Literal["auto", "onnx", "torch", "tensorrt"],
    typer.Option(help="What runs the model; auto says what it took."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Of the CPU.", show_default="every core it may use"),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read the data.")]
Seed = Annotated[int | None, typer.Option(min=0, help="The same seed gives the same result.")]
Patches = Annotated[Path, typer.Option(help="Folder of mined pair shards.")]
IndexFolder = Annotated[Path, typer.Option("--index", help="Folder of the index.")]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="milvus:WHERE",
        help="The index in Milvus instead: milvus:FOLDER, or milvus:http://HOST:19530/DATABASE.",
        show_default="the folder --index",
    ),
]
Model = Annotated[Path, typer.Option("--model", help="Bundle that `vr export` wrote.")]

DEFAULT_PATCHES = PATCHES
DEFAULT_RUNS = RUNS
DEFAULT_LATEST = RUNS / "latest"
DEFAULT_EXPORTED = EXPORTED
DEFAULT_INDEX = INDEX


def faiss_device(device: str) -> str:
    """Where an index is searched, trained and filled: on the GPU only if asked for by name."""
    return "cuda" if device == "cuda" else "cpu"
