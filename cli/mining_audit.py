"""The audit of a mining run for people, in a few lines, and for `--json`."""

from typing import TYPE_CHECKING, Any

from cli.output import count, people, plain, say

if TYPE_CHECKING:
    from toolkit.mining.audit.report import Audit

_REASONS = 4
_LABEL = 13  # columns
_STEPS = "·▁▂▃▄▅▆▇█"
_ASCII_STEPS = "_.:-=+*#@"


def tell_audit(audit: "Audit") -> None:
    """How good the pairs of the folder are, and what was set aside most."""
    if audit.pairs:
        _tell_false_pairs(audit)
        _line("quality", f"0 [bold]{plain(_histogram(audit.quality))}[/] 1")
    for number, (reason, times) in enumerate(list(audit.rejected.items())[:_REASONS]):
        _tell_reason("" if number else "set aside", reason, times)
    others = sum(list(audit.rejected.values())[_REASONS:])
    if others:
        _line("", f"{others:7,}  for other reasons")


def audit_as_json(audit: "Audit") -> dict[str, Any]:
    """The audit in `vr mine --json`: audit.json without the list of videos."""
    content = audit.as_json()
    return {key: content[key] for key in content if key not in {"version", "by_video", "not_whole"}}


def _tell_false_pairs(audit: "Audit") -> None:
    from toolkit.mining.audit.page import percent, span

    rate = audit.false_pairs
    judged = f"{count(rate.pairs, 'pair')} of {count(rate.tracks, 'thing')}"
    if rate.rate is None or rate.low is None or rate.high is None:
        _line("false pairs", f"too few to tell: {judged} can be compared with others")
        return
    about = f"about [bold]{percent(rate.rate)}[/] ({span((rate.low, rate.high))})"
    _line("false pairs", f"{about}, judged by the colours of {judged}")


def _tell_reason(label: str, reason: str, times: int) -> None:
    from toolkit.mining.audit.hints import hint

    helps = hint(reason)
    _line(label, f"{times:7,}  {plain(reason)}{f'[dim] - {plain(helps)}[/]' if helps else ''}")


def _line(label: str, text: str) -> None:
    say(f"[dim]{label:<{_LABEL}}[/]{text}")


def _histogram(counts: tuple[int, ...]) -> str:
    """A character for each bin, as high as its share of the largest; never empty for a few."""
    steps = _STEPS if people.encoding.lower().startswith("utf") else _ASCII_STEPS
    most = max(*counts, 1)
    return "".join(steps[-(-number * (len(steps) - 1) // most)] for number in counts)
