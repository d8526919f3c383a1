"""What is asked of Milvus: numbers only, whatever names hold."""

import math
import re

import pytest

from indexes.milvus.expressions import NO_TIME, all_of, among, between, none_of
from indexes.milvus.filters import Filters
from indexes.milvus.keys import key_of, thing_of
from indexes.milvus.layout import collection_name, generation_of
from indexes.milvus.notes import label_note, source_note
from indexes.records import Filter
from indexes.sources import Origin
from toolkit.errors import InputError

NASTY = ['"] or id > 0 or id in ["', "' or 1 == 1 --", "\\", "%", "_", "\n", "in [1]", "ü日", ""]
_WORDS = re.compile(r"(id|source|thing|time_s|in|not|and|e|[0-9.,\[\]<>= +-])+")


class StandIn:
    """In the place of the notes of an index: a source and a label of each nasty name."""

    def of_kind(self, kind: int, condition: str = ""):
        if kind == 2:
            for number, name in enumerate(NASTY, start=1):
                yield source_note(number, number, Origin(name, None, "video", name), 1)

    def where(self, kind: int, field: str, values):
        yield from (label_note(7, name, 1) for name in NASTY if key_of("label", name) in values)

    def labels_of(self, things):
        return dict.fromkeys(things, self.label)


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_names_never_stand_in_a_condition(name: str) -> None:
    notes = StandIn()
    notes.label = name
    filters = Filters(notes, "an index")
    only = Filter((name,), (name,), (-1.5, 2e-9), (name,))
    condition = filters.condition(only)
    assert condition is not None
    assert _WORDS.fullmatch(condition), condition
    number = NASTY.index(name) + 1
    assert condition.startswith(f"source in [{number}] and time_s >= -1.5")
    assert condition.endswith("thing in [7]")


def test_numbers_are_turned_into_numbers() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        among("id", ["1] or id > 0 or id in [1"])
    with pytest.raises(ValueError, match="no values"):
        among("id", [])
    assert none_of("id", []) == ""
    assert all_of("", "id > 1", "") == "id > 1"


def test_a_time_leaves_out_what_has_none() -> None:
    for start, end in ((-math.inf, math.inf), (-1e308, 1e308), (-5.0, 5.0)):
        first, last = (
            float(part.split("= ")[1]) for part in between("t", start, end).split(" and ")
        )
        assert NO_TIME < first <= last < math.inf
    assert between("t", 2.0, 1.0) is None
    assert between("t", math.nan, 1.0) is None


def test_a_filter_that_lets_too_many_sources_pass(monkeypatch) -> None:
    monkeypatch.setattr("indexes.milvus.filters.MOST_NUMBERS", 3)
    with pytest.raises(InputError, match="lets 9 sources"):
        Filters(StandIn(), "an index").condition(Filter(sources=("*",)))


def test_keys_are_positive_and_their_own() -> None:
    keys = {key_of("track", str(number)) for number in range(10_000)}
    assert len(keys) == 10_000
    assert min(keys) > 0
    assert max(keys) < 2**63
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of("track", "street-001") == 8350023285151905403
    assert thing_of(None, 12) == -12
    assert thing_of("street-001", 12) == 8350023285151905403


def test_names_of_collections() -> None:
    assert generation_of(collection_name("a_b", 12, "notes"), "a_b") == 12
    for name in ("a_b_state", "a_b_x_notes", "other_1_notes", "a_b_1_other", "a_1_notes", "x"):
        assert generation_of(name, "a_b") is None
