"""What `vr label` tells people."""

from typing import TYPE_CHECKING

from cli.output import count, plain, say, show_table, visible, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from indexes.labels.given import ImportReport
    from indexes.labels.records import Batch
    from indexes.labels.spread import SpreadReport
    from indexes.labels.suggest import Suggestions
    from indexes.labels.summary import LabelSummary

_SHOWN = 10  # of what was refused


def show_import(report: "ImportReport") -> None:
    """What an import did, and which lines it could not use."""
    for one in report.refused[:_SHOWN]:
        line = "" if one.line is None else f"line {one.line}: "
        warn(f"set aside {line}{plain(one.name)}: {plain(one.reason)}")
    if len(report.refused) > _SHOWN:
        warn(f"and {len(report.refused) - _SHOWN} more")
    if report.passed_over:
        say(f"{count(report.passed_over, 'line')} without a label passed over")
    if report.changed:
        say(f"{count(report.changed, 'thing')} had another label before; the newest counts")
    say(f"[bold]{count(report.things, 'thing')}[/] labelled as batch {report.batch}")


def show_classes(classes: "Mapping[str, int]") -> None:
    """How many things got each label, as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("label", "things"):
        table.add_column(name, overflow="fold")
    for name, number in classes.items():
        table.add_row(Text(visible(name)), str(number))
    show_table(table)


def show_spread(report: "SpreadReport") -> None:
    """What a spread did, and how far it can be trusted."""
    made = report.decision
    open_ones = report.things - report.given
    if report.singles:
        few = ", ".join(map(plain, report.singles[:_SHOWN])) + ", ..." * (
            len(report.singles) > _SHOWN
        )
        warn(f"one labelled thing alone, so that nothing says how well it is told: {few}")
    say(
        f"[bold]{report.labelled} of {count(open_ones, 'thing')}[/] ({report.coverage:.1%}) from "
        f"{count(report.given, 'labelled thing')}"
    )
    low, high = made.interval
    if made.measured is not None:
        say(
            f"of labelled things that were as sure when left out, {made.measured:.1%} of "
            f"{made.checked} were voted right (95 % interval {low:.1%} to {high:.1%})"
        )
    if not made.calibrated:
        warn(_not_calibrated(report))
    if report.batch is None:
        say("a dry run: nothing was written")
    else:
        say(f"batch {report.batch}; vr label undo takes it back")


def _not_calibrated(report: "SpreadReport") -> str:
    """Why nobody can say how many of the new labels are right, and what helps."""
    from indexes.labels.calibrate import fewest_labels

    fewest = fewest_labels(report.accuracy)
    if report.given < fewest:
        why = f"that takes {fewest} labelled things or more, and there are {report.given}"
    elif report.singles:
        why = "a thing that is alone in its class counts as one that was told wrong"
    else:
        why = "of the labelled things, each left out in turn, too many were told wrong"
    offer = report.offer
    less = (
        f", or be content with less: --accuracy {offer.accuracy:g} labels {offer.coverage:.0%}"
        if offer
        else ""
    )
    anyway = "" if report.labelled else "; --uncalibrated labels without a promise"
    unknown = "; how many of these are, nobody knows" if report.labelled else ""
    return (
        f"not calibrated: these labels cannot promise that {report.accuracy:.0%} of the new ones "
        f"are right{unknown}. The reason: {why}. Label more, several of each class (vr label "
        f"suggest){less}{anyway}."
    )


def show_suggestions(found: "Suggestions") -> None:
    """The things to label next, as a table."""
    from rich.table import Table
    from rich.text import Text

    from toolkit.pages import clock

    table = Table(title="to label next")
    for name in ("", "id", "source", "time", "track", "stands for", "perhaps"):
        table.add_column(name, overflow="fold")
    for one in found.suggestions:
        place = one.place
        moment = "" if place.time_s is None else clock(place.time_s)
        guess = f"{one.guess} ({one.confidence:.2f})" if one.likely else ""
        cells = (place.id, place.source, moment, place.track or "", f"{one.share:.1%}", guess)
        table.add_row(str(one.rank), *(Text(visible(cell)) for cell in cells))
    show_table(table)


def show_summary(summary: "LabelSummary") -> None:
    """Classes and batches, as tables."""
    from rich.table import Table
    from rich.text import Text

    classes = Table(title="classes")
    for name in ("label", "given", "spread"):
        classes.add_column(name, overflow="fold")
    for one in summary.classes:
        classes.add_row(Text(visible(one.label)), str(one.given), str(one.spread))
    show_table(classes)
    show_batches(summary.batches)
    labelled = summary.given + summary.spread
    say(
        f"{labelled} of {count(summary.things, 'thing')} labelled: "
        f"{summary.given} given, {summary.spread} spread"
    )


def show_batches(acts: "Iterable[Batch]") -> None:
    """Acts of labelling, as a table."""
    import datetime

    from rich.table import Table
    from rich.text import Text

    batches = Table(title="batches")
    for name in ("batch", "made", "kind", "labels", "counting", "from"):
        batches.add_column(name, overflow="fold")
    for act in acts:
        made = datetime.datetime.fromtimestamp(act.made_s).astimezone()
        came = Text(visible(act.settings.get("from", "")))
        counts = (str(act.labels), str(act.counting))
        batches.add_row(str(act.id), f"{made:%Y-%m-%d %H:%M}", act.kind, *counts, came)
    show_table(batches)


def warn_formulas(lines: int) -> None:
    """Of a list that people may open in a spreadsheet."""
    if lines:
        warn(
            f"{count(lines, 'line')} with a text that begins with =, +, - or @: a spreadsheet runs "
            "it as a formula unless it opens the list as text"
        )
