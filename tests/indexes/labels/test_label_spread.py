"""Labels spread over small indexes, against a spread worked out with plain loops."""

import math

import numpy as np
import pytest

from indexes.labels.given import import_labels
from indexes.labels.records import Labelling
from indexes.labels.spread import _LESS, SpreadSettings, spread
from indexes.labels.summary import summarise
from indexes.labels.table import add_batch, changing_labels, undo
from toolkit.errors import InputError, StorageError, UsageError


def give(index, labels):
    """Label things (a track's id, minus a patch's) as a person would."""
    with changing_labels(index) as connection:
        add_batch(connection, "import", {}, [Labelling(*one) for one in labels.items()])
    return index


@pytest.fixture
def crowd(index, seen, clusters):
    """60 tracks of 2 patches around axes 0, 1, 2 (tracks 1-20, 21-40, 41-60), 40 strangers."""
    patches = [
        seen(vector, f"{axis}-{number // 2}")
        for axis in range(3)
        for number, vector in enumerate(clusters(axis, 40))
    ]
    patches += [seen(vector) for vector in clusters(5, 40)]
    return index(patches)


LABELS = {**dict.fromkeys((1, 2, 3, 4, 5, 6, 7), "a"), **dict.fromkeys(range(21, 29), "b"),
          **dict.fromkeys((41, 42, 43, 44, 45), "c")}  # fmt: skip


def vectors_by_thing(index):
    from contextlib import closing

    from indexes.folder.store import open_folder

    things = {}
    with closing(open_folder(index)) as store:
        for segment in store.segments:
            for (patch, thing), vector in zip(segment.rows, segment.vectors, strict=True):
                things.setdefault(int(thing), []).append((int(patch), np.array(vector)))
    return {
        thing: [v for _, v in sorted(rows, key=lambda r: r[0])] for thing, rows in things.items()
    }


def naive_votes(index, labels, settings):
    """The winner and its share for each thing without a label, from the definitions alone."""
    things = vectors_by_thing(index)
    names = sorted(set(labels.values()))
    found = {}
    for thing, own in things.items():
        if thing in labels:
            continue
        near = sorted(
            (-max(float(a @ b) for a in own for b in things[other]), other) for other in labels
        )[: settings.k]
        weights = dict.fromkeys(names, 0.0)
        for cosine, other in near:
            weights[labels[other]] += math.exp((-cosine - settings.stranger) / settings.temperature)
        total = sum(weights.values()) + 1.0
        best = max(names, key=lambda name: (weights[name], -names.index(name)))
        found[thing] = (best, weights[best] / total)
    return found


def test_a_spread_is_what_the_definitions_say(crowd, rows):
    give(crowd, LABELS)
    report = spread(crowd)
    votes = naive_votes(crowd, LABELS, report.voting.settings)
    query = "SELECT coalesce(track, -patch), label, confidence FROM labels WHERE origin = 'spread'"
    written = {thing: (label, sure) for thing, label, sure in rows(crowd, query)}
    threshold = report.decision.threshold
    for thing, (label, sure) in votes.items():
        # Cosines of float32 are exact to some 1e-7, so shares to this:
        error = 1e-4 * (1 - sure) + 1e-12
        if thing in written:
            assert written[thing][0] == label
            assert written[thing][1] == pytest.approx(sure, abs=error)
            assert sure >= threshold - error
        else:
            assert sure <= threshold + error
    assert written.keys() <= votes.keys()
    assert report.things == 100
    assert report.given == len(LABELS)
    assert report.labelled == len(written) == sum(report.classes.values())
    assert report.coverage == len(written) / (100 - len(LABELS))


def test_it_is_right_and_leaves_strangers_alone(crowd, rows):
    give(crowd, LABELS)
    report = spread(crowd)
    assert report.decision.calibrated
    query = "SELECT track, label FROM labels WHERE origin = 'spread'"
    spread_to = dict(rows(crowd, query))
    assert None not in spread_to  # the strangers have no tracks
    truth = {track: "abc"[(track - 1) // 20] for track in spread_to}
    assert spread_to == truth
    assert len(spread_to) > 20


def test_in_a_closed_world_more_is_labelled(crowd):
    give(crowd, LABELS)
    careful = spread(crowd, SpreadSettings(accuracy=0.9, dry_run=True))
    closed = spread(crowd, SpreadSettings(accuracy=0.9, closed=True, dry_run=True))
    assert closed.labelled > careful.labelled
    assert closed.decision.threshold <= careful.decision.threshold


def test_a_dry_run_writes_nothing_and_says_the_same(crowd, rows):
    give(crowd, LABELS)
    dry = spread(crowd, SpreadSettings(dry_run=True))
    assert dry.batch is None
    assert rows(crowd, "SELECT count(*) FROM label_batches") == [(1,)]
    wet = spread(crowd)
    assert wet.batch == 2
    assert dry.as_json() | {"batch": 2} == wet.as_json()


def test_the_newest_spread_counts_and_undo_brings_the_older_back(crowd, places_say, labels_of):
    give(crowd, LABELS)
    spread(crowd, SpreadSettings(accuracy=0.8, closed=True))
    first = places_say(crowd)
    assert first == labels_of(crowd)
    spread(crowd, SpreadSettings(accuracy=0.95))
    second = places_say(crowd)
    assert second == labels_of(crowd)
    assert len(second) < len(first)  # what the newest is not sure of has no label any more
    assert undo(crowd).kind == "spread"
    assert places_say(crowd) == first


def test_what_people_gave_stands_before_what_was_spread(crowd, places_say, rows):
    give(crowd, LABELS)
    spread(crowd)
    (track,) = rows(crowd, "SELECT min(track) FROM labels WHERE origin = 'spread'")[0]
    (patch,) = rows(crowd, f"SELECT min(id) FROM patches WHERE track = {track}")[0]
    give(crowd, {track: "corrected"})
    assert places_say(crowd)[patch] == "corrected"
    undo(crowd)
    assert places_say(crowd)[patch] == "a"


def test_where_labels_are_too_few_the_most_that_they_vouch_for_is_offered(crowd):
    few = {thing: name for thing, name in LABELS.items() if thing in {1, 2, 3, 4, 21, 22, 23, 24}}
    report = spread(give(crowd, few), SpreadSettings(dry_run=True))
    assert not report.decision.calibrated
    higher = [one for one in _LESS if 0.95 > one > report.offer.accuracy]
    for accuracy in (*higher, report.offer.accuracy):
        asked = spread(crowd, SpreadSettings(accuracy=accuracy, dry_run=True))
        assert asked.decision.calibrated == (accuracy == report.offer.accuracy)
    assert asked.coverage == report.offer.coverage > 0
    assert (asked.offer, asked.as_json()["offer"]) == (None, None)
    told = report.as_json()["offer"]
    assert told == {"accuracy": report.offer.accuracy, "coverage": report.offer.coverage}


def test_labels_that_vouch_for_nothing_offer_nothing(crowd):
    report = spread(give(crowd, {1: "a", 21: "b"}), SpreadSettings(dry_run=True))
    assert report.offer is None


def test_one_label_a_class_is_not_calibrated_and_says_so(crowd):
    give(crowd, {1: "a", 21: "b", 41: "c"})
    report = spread(crowd, SpreadSettings(dry_run=True))
    told = report.as_json()
    assert (told["calibrated"], told["expected_accuracy"]) == (False, None)
    assert told["classes_of_one"] == ["a", "b", "c"]
    assert (told["labelled"], told["threshold"]) == (0, None)
    anyway = spread(crowd, SpreadSettings(uncalibrated=True, dry_run=True)).as_json()
    assert (anyway["calibrated"], anyway["expected_accuracy"]) == (False, None)
    assert 0 < anyway["labelled"] == sum(anyway["classes"].values())
    assert told["left_out"]["accuracy"] in (None, 0.0)  # alone of its class, it must be wrong


def test_a_class_with_one_thing_beside_others_is_named(crowd):
    give(crowd, LABELS | {-121: "stranger"})
    assert spread(crowd, SpreadSettings(dry_run=True)).singles == ("stranger",)


def test_a_label_of_strangers_takes_them(crowd, rows):
    give(crowd, LABELS | dict.fromkeys(range(-130, -120), "stranger"))
    spread(crowd)
    query = "SELECT count(*) FROM labels WHERE origin = 'spread' AND label = 'stranger'"
    assert rows(crowd, query)[0][0] > 10


def test_when_every_thing_is_labelled_there_is_nothing_to_do(index, seen, clusters):
    made = index([seen(v) for v in clusters(0, 3) + clusters(1, 3)])
    give(made, {-1: "a", -2: "a", -3: "a", -4: "b", -5: "b", -6: "b"})
    report = spread(made)
    assert (report.labelled, report.coverage, report.given) == (0, 0.0, 6)


def test_without_labels_it_says_how_to_begin(crowd):
    with pytest.raises(InputError, match="no labels to spread") as caught:
        spread(crowd)
    assert "vr label suggest" in caught.value.mend


def test_one_class_alone_cannot_be_told_from_anything(crowd):
    give(crowd, {1: "a", 2: "a"})
    with pytest.raises(InputError, match=r"All labels of the index .* are 'a'"):
        spread(crowd)


def test_no_index_and_a_senseless_accuracy(tmp_path):
    with pytest.raises(InputError, match="There is no index"):
        spread(tmp_path / "none")
    for accuracy in (1.0, 0.0, 0.4, 95.0, math.nan):
        with pytest.raises(UsageError, match="accuracy"):
            SpreadSettings(accuracy=accuracy)


def test_parts_of_any_size_give_the_same(crowd, monkeypatch):
    give(crowd, LABELS)
    whole = spread(crowd, SpreadSettings(dry_run=True)).as_json()
    monkeypatch.setattr("indexes.labels.likeness._MOST_ROWS", 7)
    told = []
    parts = spread(
        crowd, SpreadSettings(dry_run=True), lambda done, total: told.append((done, total))
    ).as_json()
    assert parts.pop("threshold") == pytest.approx(whole.pop("threshold"), rel=1e-5)
    assert parts == whole
    assert told[-1] == (160, 160)


def test_of_very_many_labelled_things_a_part_is_left_out(crowd, monkeypatch):
    give(crowd, LABELS)
    monkeypatch.setattr("indexes.labels.voting._MOST_LEFT_OUT", 10)
    report = spread(crowd, SpreadSettings(dry_run=True))
    assert len(report.voting.left_out.right) == len(report.voting.hidden) == 10


def test_a_thing_that_went_away_meanwhile_gets_no_label(crowd, rows):
    with changing_labels(crowd) as connection:
        batch, written = add_batch(
            connection,
            "spread",
            {},
            [Labelling(5, "a", 0.9), Labelling(999, "a", 0.9), Labelling(-999, "a", 0.9),
             Labelling(-1, "a", 0.9)],  # patch 1 belongs to a track
        )  # fmt: skip
    assert written == 1
    assert rows(crowd, f"SELECT track, patch FROM labels WHERE batch = {batch}") == [(5, None)]


def test_a_second_writer_is_told_and_nothing_is_written(crowd, rows):
    give(crowd, LABELS)
    with changing_labels(crowd), pytest.raises(StorageError, match="Another vr is writing"):
        spread(crowd)
    assert rows(crowd, "SELECT count(*) FROM label_batches") == [(1,)]


def test_removed_sources_take_their_labels_with_them(crowd, rows, places_say):
    from indexes.catalog.writer import writing_catalog

    give(crowd, LABELS)
    spread(crowd)
    with writing_catalog(crowd) as catalog:
        catalog.begin()
        gone = catalog.delete_patches("track IN (1, 2, 60)", ())
        catalog.bury(gone)
        catalog.commit()
    assert rows(crowd, "SELECT count(*) FROM labels WHERE track IN (1, 2, 60)") == [(0,)]
    report = spread(crowd, SpreadSettings(dry_run=True))
    assert (report.things, report.given) == (97, len(LABELS) - 2)
    assert not {int(patch) for patch in gone} & places_say(crowd).keys()


def test_a_compaction_leaves_the_labels_and_what_would_be_spread(crowd, places_say):
    from indexes.build.compact import compact
    from indexes.catalog.writer import writing_catalog

    give(crowd, LABELS)
    spread(crowd)
    with writing_catalog(crowd) as catalog:
        catalog.begin()
        catalog.bury(catalog.delete_patches("track IN (1, 60)", ()))
        catalog.commit()
    before = places_say(crowd), spread(crowd, SpreadSettings(dry_run=True)).as_json()
    compact(crowd)
    assert (places_say(crowd), spread(crowd, SpreadSettings(dry_run=True)).as_json()) == before


def test_the_summary_counts_things_by_class_and_batch(crowd):
    give(crowd, LABELS)
    report = spread(crowd)
    give(crowd, {1: "b"})
    told = summarise(crowd).as_json()
    assert (told["things"], told["given"], told["spread"]) == (100, 20, report.labelled)
    assert told["coverage"] == (20 + report.labelled) / 100
    assert told["classes"]["b"] == {"given": 9, "spread": report.classes["b"]}
    kinds = [(b["batch"], b["kind"], b["labels"], b["counting"]) for b in told["batches"]]
    assert kinds == [
        (1, "import", 20, 19),
        (2, "spread", report.labelled, report.labelled),
        (3, "import", 1, 1),
    ]


def test_a_filter_by_label_finds_what_was_spread(crowd, tmp_path, places_say):
    from contextlib import closing

    from indexes.folder.store import open_folder
    from indexes.records import Filter

    (tmp_path / "l.csv").write_text(
        "track,label\n" + "".join(f"0-{n},a\n1-{n},b\n" for n in range(7))
    )
    import_labels(crowd, tmp_path / "l.csv")
    report = spread(crowd, SpreadSettings(accuracy=0.9))
    with closing(open_folder(crowd)) as store:
        query = np.eye(8, dtype=np.float32)[:1]
        found = store.nearest(query, 160, Filter(labels=("a",)))
    patches = set(found.patches[0][found.patches[0] >= 0].tolist())
    said = places_say(crowd)
    assert patches == {patch for patch, label in said.items() if label == "a"}
    assert len(patches) >= 2 * (7 + 10)
    assert report.classes["a"] >= 10
