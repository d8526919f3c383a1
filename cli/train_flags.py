"""The flags of `vr train` that change a setting, and how they add up to the settings of a run.

Each is named as its setting is (toolkit/training/settings.py); those without a flag of their
own are reached through --set. What is typed goes before what stands in vr.toml.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.training.settings import TrainSettings

_NETWORK = "The network"
_LEARNING = "What it learns from, and how"
_MEASURING = "What is held out and measured"
_MACHINE = "The machine"
_RUN = "The run"

Recipe = Annotated[
    str,
    typer.Option(
        help="modern, or wang2015: the published training. A recipe fills in all settings; "
        "flags change single ones.",
        rich_help_panel=_NETWORK,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="small, resnet18, resnet34, resnet50, alexnet, hf:NAME (transformers) or timm:NAME.",
        show_default="small",
        rich_help_panel=_NETWORK,
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        help="Begin from these weights: the folder of a run or of a checkpoint, or a published "
        "name.",
        show_default="drawn at random",
        rich_help_panel=_NETWORK,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Input height and width, pixels.",
        show_default="what the backbone is made for",
        rich_help_panel=_NETWORK,
    ),
]
Dim = Annotated[
    int | None,
    typer.Option(
        help="Length of an embedding.",
        show_default="what the backbone is made for",
        rich_help_panel=_NETWORK,
    ),
]
Gray = Annotated[
    bool, typer.Option("--gray", help="See patches in gray only.", rich_help_panel=_NETWORK)
]

Loss = Annotated[str | None, typer.Option(help="rank-hard or infonce.", rich_help_panel=_LEARNING)]
Steps = Annotated[
    int | None, typer.Option(help="Batches to learn from.", rich_help_panel=_LEARNING)
]
BatchPairs = Annotated[
    int | None, typer.Option(help="Pairs in a batch, over all GPUs.", rich_help_panel=_LEARNING)
]
Rate = Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=_LEARNING)]
Ema = Annotated[
    float | None,
    typer.Option(
        metavar="DECAY",
        help="Measure and export the average of the weights over the steps, with this decay a "
        "step, such as 0.99; 0 for the plain weights.",
        rich_help_panel=_LEARNING,
    ),
]
Positives = Annotated[
    str | None,
    typer.Option(
        help="What has to be found: pair (the mined one), track (any patch of the track) or "
        "augmentation (the same patch, changed again).",
        rich_help_panel=_LEARNING,
    ),
]
Turn = Annotated[
    float | None,
    typer.Option(
        metavar="DEGREES",
        help="Augmentation turns a patch by at most this; 180 where there is no up.",
        rich_help_panel=_LEARNING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Same seed, same result.", rich_help_panel=_LEARNING),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change any other setting, such as margin=0.4 or hard_after=0.5. May be given "
        "again. docs/training.md lists them all.",
        rich_help_panel=_LEARNING,
    ),
]

SplitBy = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Hold out by time (the end of each video) or by video.",
        rich_help_panel=_MEASURING,
    ),
]
HeldOut = Annotated[
    float | None,
    typer.Option(help="Part of the footage to measure on, 0 to 0.9.", rich_help_panel=_MEASURING),
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="The state to export: last, or best by recall on what is held out, which then "
        "looks better than it is.",
        rich_help_panel=_MEASURING,
    ),
]

Name = Annotated[
    str | None,
    typer.Option(help="Name of the run.", show_default="date and time", rich_help_panel=_RUN),
]
Out = Annotated[Path, typer.Option(help="Folder of the runs.", rich_help_panel=_RUN)]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run --name, or the latest, with its own settings.",
        rich_help_panel=_RUN,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the run that is there.", rich_help_panel=_RUN),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto takes a GPU if any.", rich_help_panel=_MACHINE),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Share each batch among so many GPUs of this machine.",
        show_default="one, if any",
        rich_help_panel=_MACHINE,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=0,
        help="Threads that read patches ahead of the steps, a batch each.",
        rich_help_panel=_MACHINE,
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Use torch.compile: a long first step, then somewhat faster ones.",
        show_default="no",
        rich_help_panel=_MACHINE,
    ),
]

# Parameters of the command that are settings of the same name.
_SETTINGS = (
    "backbone", "init", "size", "dim", "loss", "steps", "batch_pairs", "rate", "ema", "positives",
    "turn", "seed", "split", "held_out", "keep", "compile",
)  # fmt: skip
_FLAGS = {"gray": "--gray", "assignments": "--set"}


def training_settings(context: typer.Context) -> "TrainSettings":
    """The settings of a new run. Raises UsageError, which names the setting."""
    from toolkit.training.settings import TrainSettings

    in_folder = _changes(context, "DEFAULT_MAP")
    typed = _changes(context, "COMMANDLINE")
    return TrainSettings.from_recipe(context.params["recipe"], {**in_folder, **typed})


def typed_settings(context: typer.Context) -> list[str]:
    """The flags on the command line that change a setting, as they are typed there."""
    names = ("recipe", *_SETTINGS, *_FLAGS)
    return [_FLAGS.get(n, _flag(n)) for n in names if comes_from(context, n, "COMMANDLINE")]


def comes_from(context: typer.Context, parameter: str, source: str) -> bool:
    """Whether a parameter stands on the COMMANDLINE, or in vr.toml (DEFAULT_MAP)."""
    found = context.get_parameter_source(parameter)
    return found is not None and found.name == source


def _changes(context: typer.Context, source: str) -> dict[str, Any]:
    given = {name for name in (*_SETTINGS, *_FLAGS) if comes_from(context, name, source)}
    changes = {name: context.params[name] for name in _SETTINGS if name in given}
    by = {name: _flag(name) for name in changes}
    if "gray" in given and context.params["gray"]:
        changes["channels"], by["channels"] = "gray", "--gray"
    for text in context.params["assignments"] or () if "assignments" in given else ():
        name, value = _assignment(text)
        if name in changes:
            raise UsageError(
                f"The setting {name} is given twice, by {by[name]} and by --set {text}.",
                mend="Leave one of them out.",
            )
        changes[name], by[name] = value, f"--set {text}"
    return changes


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value of the setting's type."""
    from toolkit.training.settings import check_name, setting_types

    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals:
        raise UsageError(
            f"--set {text!r} has no value.", mend="Write NAME=VALUE, such as --set margin=0.4."
        )
    if name == "recipe":
        raise UsageError("The recipe is not changed by --set.", mend="Use --recipe.")
    check_name(name)
    kind = setting_types()[name]
    try:
        return name, _parsed(value.strip(), kind)
    except ValueError as error:
        what = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UsageError(f"The setting {name} is {value!r}.", mend=f"Use {what}.") from error


def _parsed(text: str, kind: type) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    return kind(text)
