"""`vr eval --labels`: what a few labels are worth with an embedder, for people and programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cli.output import count, emit, plain, progress_bar, say, show_table, visible, warn_set_aside

if TYPE_CHECKING:
    from toolkit.embedding import Embedder
    from toolkit.evaluation.intervals import Accuracy
    from toolkit.evaluation.label_protocol import LabelReport, LabelResult
    from toolkit.transfer.judge import Judged

_QUARANTINED = 3
_METHODS = {"knn": "k-NN", "probe": "linear probe"}
_MOST_NAMED = 8


def evaluate_labels(
    subject: Path,
    embedder: "Embedder",
    labels: Path,
    group_by: Literal["none", "folder"],
    *,
    as_json: bool,
) -> int:
    """Measure, tell, and give the exit code. Raises InputError."""
    from toolkit.evaluation.knn import DEFAULTS
    from toolkit.evaluation.label_protocol import evaluate_labels as run
    from toolkit.evaluation.labelled import find_labelled

    found = find_labelled(labels, group_by)
    say(f"measuring {plain(subject)} with {embedder.runtime} on {plain(labels)}")
    with progress_bar("embedding", len(found.files), count=True) as bar:

        def at_feature(name: str, done: int, total: int) -> None:
            bar.at(done, total, f"measuring {name or 'it'}")

        report = run(
            embedder, found, DEFAULTS, lambda done: bar.at(done, len(found.files)), at_feature
        )
    for path, reason in report.pictures.set_aside:
        warn_set_aside(path, reason)
    judged = _judged(subject, embedder, report)
    _tell(report)
    if as_json:
        emit(as_contract(subject, labels, report, judged))
    else:
        _show(subject, report)
    if judged:
        _tell_judged(judged)
    return _QUARANTINED if report.pictures.set_aside else 0


def _judged(subject: Path, embedder: "Embedder", report: "LabelReport") -> "Judged | None":
    """Where the subject is a run of `vr transfer`: what its own classes reach."""
    from toolkit.transfer.judge import judge
    from toolkit.transfer.run import TransferFolder, is_transfer

    if not is_transfer(subject):
        return None
    run = TransferFolder.open(subject)
    return judge(run, embedder.card.fingerprint, report.pictures, report.vectors)


def _tell_judged(judged: "Judged") -> None:
    measured = judged.measured
    say(
        f"its own classes: {_cell(measured.accuracy)} on "
        f"{count(len(measured.labels), 'picture')}, mean over the classes "
        f"{measured.class_mean:.3f}; it has learned from {judged.learned} others or their like"
    )
    if judged.unknown:
        say(f"it does not know: {_some(judged.unknown)}")


def _some(names: "Sequence[str]") -> str:
    more = len(names) - _MOST_NAMED
    told = ", ".join(plain(name) for name in names[:_MOST_NAMED])
    return f"{told}{f' and {more} more' if more > 0 else ''}"


def _tell(report: "LabelReport") -> None:
    split, pictures = report.split, report.pictures
    say(
        f"{count(len(split.train), 'picture')} to learn from, {len(split.test)} to test on; "
        f"{count(len(pictures.classes), 'class', 'classes')}. Always naming the commonest "
        f"class is right in {report.most_common:.3f}."
    )
    if split.untested:
        say(f"too few pictures to test on: {_some(split.untested)}")


def _show(subject: Path, report: "LabelReport") -> None:
    from rich.table import Table
    from rich.text import Text

    shares = list(dict.fromkeys((one.share, one.labels) for one in report.results))
    columns = [f"{100 * share:g} % ({labels})" for share, labels in shares]
    table = Table(
        "", "", *columns, title="accuracy and its 95 % interval by the labels that are used"
    )
    rows = {str(subject): report.results, **report.baselines}
    for name, results in rows.items():
        for method, title in _METHODS.items():
            cells = [_cell(one.accuracy) for one in results if one.method == method]
            style = "bold" if name == str(subject) else None
            first = visible(name) if method == "knn" else ""
            table.add_row(Text(first), title, *cells, style=style)
    show_table(table)


def _cell(accuracy: "Accuracy") -> str:
    return f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})"


def as_contract(
    subject: Path, labels: Path, report: "LabelReport", judged: "Judged | None"
) -> dict[str, Any]:
    """The object of `vr eval --labels --json`; see docs/formats.md."""
    split, pictures = report.split, report.pictures
    own = {} if judged is None else {"classifier": _classifier(judged)}
    return {
        "subject": str(subject),
        "labels": str(labels),
        "pictures": len(pictures.labels),
        "classes": list(pictures.classes),
        "train": len(split.train),
        "test": len(split.test),
        "test_groups": len(set(pictures.groups[split.test].tolist())),
        "untested": list(split.untested),
        "most_common": report.most_common,
        "results": _results(report.results),
        "baselines": {name: _results(results) for name, results in report.baselines.items()},
        **own,
        "quarantined": [{"picture": path, "reason": why} for path, why in pictures.set_aside],
    }


def _classifier(judged: "Judged") -> dict[str, Any]:
    measured = judged.measured
    return {
        "pictures": len(measured.labels),
        "learned": judged.learned,
        "unknown": list(judged.unknown),
        **measured.accuracy.as_json(),
        "class_mean": measured.class_mean,
    }


def _results(results: "Sequence[LabelResult]") -> list[dict[str, Any]]:
    return [result.as_json() for result in results]
