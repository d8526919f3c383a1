"""What is said where an index finds less than was asked for."""

import pytest

from cli.index_budget import recall_note
from indexes.build.budget import Wish
from indexes.info import IndexInfo
from indexes.plan.budget import Budget


def info(recall, enough_ms=None, asked=0.95):
    wish = Wish(Budget(recall=asked))
    sizes = (1000, 128, "ivf-pq", "IVF8,PQ4np", 1, 1, "f", 1)
    return IndexInfo("index", *sizes, recall, 0, wish, {}, enough_ms=enough_ms)


@pytest.mark.parametrize("recall", [None, 0.95, 1.0])
def test_an_index_that_finds_enough_says_nothing(recall):
    assert recall_note(info(recall)) == ""


def test_what_would_be_enough_is_named_and_rounded_up():
    note = recall_note(info(0.912, 12.341))
    assert "finds 91.2% of the true ten nearest, less than the 95.0%" in note
    assert note.endswith("vr index compact --latency 12.35ms, or --memory SIZE")


def test_where_no_latency_is_known_to_be_enough_memory_is_named():
    assert recall_note(info(0.94)).endswith("vr index compact --memory SIZE")
