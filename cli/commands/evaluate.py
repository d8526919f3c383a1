"""`vr eval`: recall on held-out pairs, or accuracy on labelled pictures, beside the baselines."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.label_accuracy import evaluate_labels
from cli.options import DEFAULT_LATEST, DEFAULT_RUNS, Device, Json, Runtime, Threads
from cli.output import emit, plain, say, show_table, visible
from toolkit.errors import InputError, MismatchError, UsageError

if TYPE_CHECKING:
    from toolkit.evaluation.evaluate import Comparison
    from toolkit.training.run_folder import RunFolder


def evaluate(
    subject: Annotated[
        Path, typer.Argument(help="A run, or a bundle that `vr export` wrote.")
    ] = DEFAULT_LATEST,
    run: Annotated[
        Path | None,
        typer.Option(help="The run whose held-out pairs to use.", show_default="the subject's own"),
    ] = None,
    patches: Annotated[
        Path | None, typer.Option(help="Where the run's pair shards are, if they were moved.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Measure on labelled pictures instead: a folder with a folder for each class, "
            "or a CSV file with path and label.",
        ),
    ] = None,
    group_by: Annotated[
        Literal["none", "folder"],
        typer.Option(
            help="With --labels: keep the pictures of one folder below a class together, for "
            "frames of one video or scene."
        ),
    ] = "none",
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Measure R@1, R@5 and MAP@R on pairs that the run has not seen.

    With --labels: k-NN and a linear probe with 1, 10 and 100 % of the labels; of a run of
    `vr transfer` also its own classes, on pictures that it has not learned from.
    """
    from deploy.runtimes import open_embedder
    from toolkit.evaluation.evaluate import compare, load_held_out
    from toolkit.training.held_out import held_out_pairs

    _check_subject(subject)
    if labels is not None:
        if run is not None or patches is not None:
            raise UsageError(
                "--labels measures on labelled pictures, so --run and --patches have no part.",
                mend="Leave --labels out, or the other.",
            )
        embedder = open_embedder(subject, runtime, device, threads)
        try:
            return evaluate_labels(subject, embedder, labels, group_by, as_json=as_json)
        finally:
            embedder.close()
    if group_by != "none":
        raise UsageError("--group-by is about labelled pictures, and needs --labels.")
    embedder = open_embedder(subject, runtime, device, threads)
    try:
        source = _run_of(subject, run, embedder.card.lineage)
        _check_unseen(source, embedder.card.lineage)
        pairs = held_out_pairs(source, patches)
        say(f"measuring {plain(subject)} with {embedder.runtime}")
        comparison = compare(embedder, load_held_out(pairs, embedder.card.preprocessing))
    finally:
        embedder.close()
    if as_json:
        emit(as_contract(subject, comparison))
    else:
        _show(subject, comparison)
    return 0


def _check_subject(subject: Path) -> None:
    if any((subject / name).is_file() for name in ("model.onnx", "model.safetensors")):
        return
    from toolkit.training.run_folder import RunFolder
    from toolkit.transfer.run import TransferFolder, is_transfer

    if is_transfer(subject) or (subject / "settings.json").is_file():
        run = TransferFolder.open(subject) if is_transfer(subject) else RunFolder.open(subject)
        raise UsageError(
            f"The run {run.path} is not finished.", mend=f"Go on with: {run.resume_command}"
        )
    raise InputError(
        f"There is no run and no bundle at {subject}.",
        mend="Train a run with `vr train`, or give the folder of one.",
    )


def _check_unseen(run: "RunFolder", lineage: Mapping[str, Any]) -> None:
    """Another run's held-out pairs may be among those that the network learned from."""
    if run.read_data().digest != lineage.get("data"):
        raise MismatchError(
            f"The held-out pairs of {run.path} are not those that this network has not seen.",
            mend="Give the run it comes from with --run, or export again.",
        )


def _run_of(subject: Path, run: Path | None, lineage: Mapping[str, Any]) -> "RunFolder":
    from toolkit.training.run_folder import RunFolder
    from toolkit.transfer.run import RECIPE, TransferFolder, is_transfer

    if run is not None:
        return RunFolder.open(run)
    if lineage.get("recipe") == RECIPE:
        raise UsageError(
            f"{subject} learned from labelled pictures and has no held-out pairs.",
            mend="Measure it on labelled pictures with --labels FOLDER.",
        )
    if is_transfer(subject):
        base = TransferFolder.open(subject).find_base()
        say(f"{plain(subject)} has the network of {plain(base)}, and so its held-out pairs")
        return _run_of(base, None, lineage)
    if (subject / "settings.json").is_file():
        return RunFolder.open(subject)
    place = DEFAULT_RUNS / str(lineage.get("run", "latest"))
    if not (place / "settings.json").is_file():
        raise InputError(
            f"The run that {subject} comes from is not at {place}.",
            mend="Say where it is with --run, or measure on labelled pictures with --labels.",
        )
    return RunFolder.open(place)


def _show(subject: Path, comparison: "Comparison") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "R@1", "R@5", "MAP@R", title=f"{comparison.trained.queries} held-out queries")
    rows = {str(subject): comparison.trained, **comparison.baselines}
    for name, m in rows.items():
        values = (f"{v:.3f}" for v in (m.recall_at_1, m.recall_at_5, m.map_at_r))
        table.add_row(Text(visible(name)), *values, style="bold" if name == str(subject) else None)
    show_table(table)


def as_contract(subject: Path, comparison: "Comparison") -> dict[str, Any]:
    """The `eval` contract of docs/formats.md."""
    return {
        "subject": str(subject),
        "pairs": comparison.trained.queries,
        **comparison.trained.as_json(),
        "baselines": {name: m.as_json() for name, m in comparison.baselines.items()},
    }
