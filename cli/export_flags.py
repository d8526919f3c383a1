"""The flags of `vr export`, and what may not stand together: checked before any work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.amounts import parse_bytes
from cli.train_flags import comes_from
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from deploy.settings import ExportSettings
    from deploy.tensorrt import EngineSettings, Target

_BUNDLE = "The bundle"
_GRAPH = "The form of the graph"
_ENGINES = "TensorRT engines"
_PROOF = "The proof"

Run = Annotated[Path, typer.Argument(help="The run to export.")]
Out = Annotated[Path, typer.Option(help="Folder of the bundle.", rich_help_panel=_BUNDLE)]
PrecisionName = Annotated[
    Literal["fp32", "fp16", "int8"],
    typer.Option(help="Of the numbers in the graph.", rich_help_panel=_BUNDLE),
]
Dense = Annotated[
    bool,
    typer.Option(
        "--dense",
        help="Add a graph that embeds every window of a large picture in one pass.",
        rich_help_panel=_BUNDLE,
    ),
]
Triton = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Put it into this model repository of a Triton server too.",
        rich_help_panel=_BUNDLE,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Input height and width.",
        show_default="that of the run",
        rich_help_panel=_GRAPH,
    ),
]
Opset = Annotated[
    int | None,
    typer.Option(
        help="Version of the ONNX operators, 18 to 25.", show_default="20", rich_help_panel=_GRAPH
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Take exactly so many pictures at a time.",
        show_default="any number",
        rich_help_panel=_GRAPH,
    ),
]
Trt = Annotated[
    bool,
    typer.Option(
        "--trt", help="For the GPU of this machine (needs one).", rich_help_panel=_ENGINES
    ),
]
TrtRtx = Annotated[
    bool,
    typer.Option("--trt-rtx", help="For every RTX GPU (needs none).", rich_help_panel=_ENGINES),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="MIN/OPT/MAX",
        help="Batches that an engine takes, fastest at OPT; again for another engine.",
        show_default="1/32/128",
        rich_help_panel=_ENGINES,
    ),
]
Workspace = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES",
        help="Scratch memory on the GPU, such as 2G.",
        show_default="no limit",
        rich_help_panel=_ENGINES,
    ),
]
Patches = Annotated[
    Path | None,
    typer.Option(help="The run's pair shards, if they were moved.", rich_help_panel=_PROOF),
]
Verify = Annotated[
    Path | None,
    typer.Option(
        metavar="BUNDLE",
        help="Export nothing: repeat the proof of this bundle here.",
        rich_help_panel=_PROOF,
    ),
]
RuntimeName = Annotated[
    Literal["auto", "onnx", "tensorrt"],
    typer.Option(help="With --verify: what runs the bundle.", rich_help_panel=_PROOF),
]
DeviceName = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="With --verify: where it runs.", rich_help_panel=_PROOF),
]

_ONLY_VERIFY = ("runtime", "device")
_WITH_VERIFY = frozenset({"verify", "as_json", *_ONLY_VERIFY})
_ONLY_ENGINES = ("profiles", "workspace")


def check_flags(context: typer.Context) -> None:
    """Raises UsageError for flags that do not go together."""
    typed = [name for name in context.params if comes_from(context, name, "COMMANDLINE")]
    if context.params["verify"] is not None:
        foreign = [_flag(context, name) for name in typed if name not in _WITH_VERIFY]
        if foreign:
            raise UsageError(
                f"--verify exports nothing, so {foreign[0]} has nothing to change.",
                mend="Leave one of the two out.",
            )
        return
    for name in _ONLY_VERIFY:
        if name in typed:
            raise UsageError(
                f"{_flag(context, name)} says what repeats a proof, and needs --verify.",
                mend="An export is proven with ONNX Runtime on the CPU, engines on their GPU.",
            )
    for name in _ONLY_ENGINES:
        if name in typed and not (context.params["trt"] or context.params["trt_rtx"]):
            raise UsageError(
                f"{_flag(context, name)} is about engines, and needs --trt or --trt-rtx."
            )


def _flag(context: typer.Context, name: str) -> str:
    parameter = next(p for p in context.command.params if p.name == name)
    return parameter.opts[0] if parameter.opts[0].startswith("-") else "a run"


def export_settings(context: typer.Context) -> "ExportSettings":
    """The settings that the flags add up to. Raises UsageError."""
    from deploy.onnx.make import OPSET, GraphOptions
    from deploy.settings import ExportSettings

    params = context.params
    opset = OPSET if params["opset"] is None else params["opset"]
    return ExportSettings(
        precision=params["precision"],
        size=params["size"],
        graph=GraphOptions(opset, params["batch"]),
        dense=params["dense"],
    )


def engine_settings(context: typer.Context) -> "list[EngineSettings]":
    """The engines that the flags ask for, one record a target. Raises UsageError."""
    from deploy.tensorrt import EngineSettings, Profile

    params = context.params
    texts, workspace = params["profiles"], params["workspace"]
    wanted: dict[Target, bool] = {"tensorrt": params["trt"], "tensorrt_rtx": params["trt_rtx"]}
    size = None if workspace is None else parse_bytes(workspace, "--workspace")
    with _named("--profile"):
        profiles = tuple(map(Profile.parse, texts)) if texts else None
        every = [EngineSettings(profiles, name, size) for name, asked in wanted.items() if asked]
        for settings in every:
            settings.profiles_for(params["batch"])
    return every


@contextmanager
def _named(flag: str) -> Iterator[None]:
    """Put the flag before a message of those who know nothing of flags."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{flag}: {error.problem}", mend=error.mend) from error
