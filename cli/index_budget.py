"""The flags of `vr index` that say what an index may take, and what is told of its plan."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.amounts import parse_bytes, parse_milliseconds
from cli.output import plain, say
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from indexes.build.budget import Wish
    from indexes.info import IndexInfo
    from indexes.plan.choose import IndexPlan

_budget = partial(typer.Option, rich_help_panel="What the index may take (kept for later builds)")

Memory = Annotated[
    str | None,
    _budget(
        metavar="SIZE",
        help="That searching may hold: 500M, 4G.",
        show_default="as little as the rest allows",
    ),
]
Latency = Annotated[
    str | None,
    _budget(metavar="TIME", help="Of one query on one core: 10ms.", show_default="10ms"),
]
Recall = Annotated[
    float | None,
    _budget(
        metavar="SHARE",
        help="Of the true ten nearest that must be found, up to 1.",
        show_default="0.95",
    ),
]
IndexKey = Annotated[
    str | None,
    _budget(
        metavar="KEY",
        help="FAISS's factory key of the very index to make, whatever it takes.",
        show_default="chosen by the rest",
    ),
]
Wait = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, max=1e6, help="Wait so long for another writer."),
]


def say_waiting(index: Path, wait_s: float) -> None:
    """Tell people what they wait for, where they do."""
    from toolkit.lock import is_being_written

    if wait_s and is_being_written(index):
        say(f"another vr is writing {plain(index)}: waiting for it, {wait_s:g} s at most")


def wish_of(
    memory: str | None, latency: str | None, recall: float | None, key: str | None
) -> "Wish | None":
    """What the flags ask for; None where none was given. Raises UsageError."""
    if memory is None and latency is None and recall is None and key is None:
        return None
    from indexes.build.budget import Wish
    from indexes.plan.budget import DEFAULT_RECALL, Budget

    if key is not None and (memory is not None or latency is not None):
        raise UsageError(
            "--index-key names the very index; a budget would choose one.",
            mend="Give --index-key, or --memory and --latency.",
        )
    budget = Budget(
        None if memory is None else parse_bytes(memory, "--memory"),
        None if latency is None else parse_milliseconds(latency, "--latency"),
        DEFAULT_RECALL if recall is None else recall,
    )
    return Wish(budget, key)


def say_plan(plan: "IndexPlan") -> None:
    """The plan of an index, for people: what, what it takes, and why."""
    from indexes.plan.choose import size_text

    say(
        f"[bold]{plan.kind}[/] ({plain(plan.key)}): about {size_text(plan.memory_bytes)} "
        f"in memory, {size_text(plan.disk_bytes)} on the disk, {plan.build_s:.2g} s to build, "
        f"{plan.query_ms:.2g} ms a query, for a recall of {plan.recall:g}"
    )
    for reason in plan.reasons:
        say(f"  {plain(reason)}")


def recall_note(info: "IndexInfo") -> str:
    """What to say where the index finds less than was asked for; empty where it does not."""
    measured, asked = info.recall_at_10, info.wish.budget.recall
    if measured is None or measured >= asked:
        return ""
    ways = "--memory SIZE"
    if info.enough_ms is not None:
        ways = f"--latency {math.ceil(info.enough_ms * 100) / 100:g}ms, or {ways}"
    return (
        f"the index finds {measured:.1%} of the true ten nearest, less than the {asked:.1%} that "
        f"were asked for; what allows more: vr index compact {ways}"
    )
