"""The audit at the end of `vr mine`: what people read, and what programs read."""

import json

import pytest
from rich.console import Console

from cli import mining_audit
from cli.mining_audit import audit_as_json, tell_audit
from toolkit.mining.audit.false_rate import FalseRate
from toolkit.mining.audit.report import Audit, MinedVideo
from toolkit.records import Quarantined


def audit(pairs=120, rate=0.0321, rejected=None):
    known = (None, None, None) if rate is None else (rate, 0.01, 0.105)
    return Audit(
        frames=900, footage_s=60.0, rejected={} if rejected is None else rejected,
        videos={"done": 1, "quarantined": 1}, tracks_begun=40, pairs=pairs, tracks=22,
        quality=(0, 0, 0, 0, 0, 1, 9, 20, 30, 60),
        by_video=(MinedVideo("a.mp4", "a" * 64, "done", 60.0, pairs, 22),),
        not_whole=(Quarantined("b.mp4", "It is no video."),),
        false_pairs=FalseRate(*known, 110, 20, (("a-1", 0.9),)),
    )  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(mining_audit, "say", lines.append)
    return lines


def test_pairs_are_told_with_the_estimate_and_their_quality(told):
    tell_audit(audit())
    assert len(told) == 2
    assert "3.2 %" in told[0]
    assert "1 to 10 %" in told[0]
    assert "110 pairs of 20 things" in told[0]
    assert "▁▂▃▄█" in told[1]


def test_too_few_pairs_are_told_as_such(told):
    tell_audit(audit(rate=None))
    assert "too few to tell" in told[0]
    assert "%" not in told[0]


def test_without_pairs_only_the_reasons_are_told(told):
    tell_audit(audit(pairs=0, rejected={"cuts": 3}))
    assert len(told) == 1
    assert "cuts" in told[0]
    assert "smaller --gap" in told[0]


def test_the_most_frequent_reasons_are_told_and_the_rest_counted(told):
    tell_audit(audit(rejected={f"reason [red]{n}": 70 - 10 * n for n in range(6)}))
    text = "\n".join(told)
    assert text.count("reason") == 5  # four of them, and "for other reasons"
    assert "    50  for other reasons" in text
    assert r"\[red]" in text  # markup in a reason is none


def test_a_terminal_without_blocks_gets_letters(told, monkeypatch):
    ascii_console = Console(file=None, legacy_windows=False)
    monkeypatch.setattr(type(ascii_console), "encoding", property(lambda _: "ascii"))
    monkeypatch.setattr(mining_audit, "people", ascii_console)
    tell_audit(audit())
    assert told[1].isascii()


def test_the_json_has_no_list_of_videos():
    content = audit_as_json(audit(rejected={"cuts": 3}))
    assert json.loads(json.dumps(content)) == {
        "frames": 900, "footage_s": 60.0, "rejected": {"cuts": 3},
        "videos": {"done": 1, "quarantined": 1}, "tracks_begun": 40, "pairs": 120, "tracks": 22,
        "quality": [0, 0, 0, 0, 0, 1, 9, 20, 30, 60],
        "false_pairs": {
            "rate": 0.0321, "low": 0.01, "high": 0.105, "pairs": 110, "tracks": 20,
            "confidence": 0.95, "method": content["false_pairs"]["method"],
        },
    }  # fmt: skip
