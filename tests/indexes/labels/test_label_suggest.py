"""What is suggested to label next: a greedy cover worked out in full, and the files of it."""

import csv
import re

import numpy as np
import pytest

from indexes.labels.given import import_labels
from indexes.labels.sheet import write_list, write_pictures, write_sheet
from indexes.labels.suggest import choose, suggest
from toolkit.errors import InputError, StorageError, UsageError
from toolkit.images import encode_jpeg


def naive_choice(vectors, weights, covered, count):
    """Each step tries every row and sums over all rows what it would add."""
    covered, chosen = [float(one) for one in covered], []
    for _ in range(min(count, len(vectors))):
        gains = {
            row: sum(
                weight * max(0.0, float(vectors[row] @ other) - have)
                for weight, other, have in zip(weights, vectors, covered, strict=True)
            )
            for row in range(len(vectors))
            if row not in chosen
        }
        best = max(gains, key=lambda row: (gains[row], -row))
        chosen.append(best)
        covered = [
            max(have, float(vectors[best] @ other))
            for have, other in zip(covered, vectors, strict=True)
        ]
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_greedy_one(seed):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((30, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = random.random(30)
    covered = random.uniform(0, 0.5, 30).astype(np.float32)
    assert choose(vectors, weights, covered, 8) == naive_choice(vectors, weights, covered, 8)


def test_more_are_not_chosen_than_there_are_and_none_twice():
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    chosen = choose(vectors, np.ones(3), np.zeros(3, np.float32), 10)
    assert sorted(chosen) == [0, 1, 2]
    assert set(chosen[:2]) == {0, 2}  # what is the same comes last


@pytest.fixture
def kinds(index, seen, clusters):
    """Four kinds of things, 40, 20, 10 and 5 of them, a picture each."""
    patches = [
        seen(vector, f"{axis}/{number}", f"clips/<{axis}>.mp4", float(number), (0, 0, 9, 9),
             encode_jpeg(np.full((8, 8, 3), 60 * axis, np.uint8)))
        for axis, count in enumerate((40, 20, 10, 5))
        for number, vector in enumerate(clusters(axis, count, spread=0.05))
    ]  # fmt: skip
    return index(patches)


def axis_of(suggestion):
    return int(suggestion.place.track.split("/")[0])


def test_without_labels_the_kinds_come_by_their_size(kinds):
    found = suggest(kinds, 4)
    assert [axis_of(one) for one in found.suggestions] == [0, 1, 2, 3]
    assert [one.rank for one in found.suggestions] == [1, 2, 3, 4]
    assert [round(75 * one.share) for one in found.suggestions] == [40, 20, 10, 5]
    assert {one.guess for one in found.suggestions} == {None}
    assert (found.things, found.given) == (75, 0)


def test_what_labels_cover_is_not_suggested(kinds, tmp_path):
    (tmp_path / "l.csv").write_text(
        "track,label\n" + "".join(f"{axis}/{n},k{axis}\n" for axis in (0, 1) for n in range(4))
    )
    import_labels(kinds, tmp_path / "l.csv")
    found = suggest(kinds, 2)
    assert [axis_of(one) for one in found.suggestions] == [2, 3]
    assert {one.guess for one in found.suggestions} <= {"k0", "k1"}
    assert all(0 <= one.confidence <= 1 for one in found.suggestions)
    assert (found.things, found.given) == (75, 8)


def test_one_class_alone_gives_no_guess_but_covers(kinds, tmp_path):
    (tmp_path / "l.csv").write_text("track,label\n0/1,k\n")
    import_labels(kinds, tmp_path / "l.csv")
    (first,) = suggest(kinds, 1).suggestions
    assert (axis_of(first), first.guess) == (1, None)


def test_labelled_things_never_come_and_few_come_whole(index, seen, clusters, tmp_path):
    made = index([seen(v) for v in clusters(0, 4)])
    (tmp_path / "l.csv").write_text("id,label\n1,a\n2,b\n")
    import_labels(made, tmp_path / "l.csv")
    found = suggest(made, 20)
    assert sorted(one.place.id for one in found.suggestions) == [3, 4]
    (tmp_path / "l.csv").write_text("id,label\n3,a\n4,b\n")
    import_labels(made, tmp_path / "l.csv")
    with pytest.raises(InputError, match=r"Every thing .* is labelled"):
        suggest(made)


def test_of_very_many_a_part_is_drawn_the_same_each_time(kinds, monkeypatch):
    monkeypatch.setattr("indexes.labels.suggest.SAMPLE", 30)
    first = [one.place.id for one in suggest(kinds, 3).suggestions]
    assert first == [one.place.id for one in suggest(kinds, 3).suggestions]
    assert len(set(first)) == 3


def test_a_senseless_count_and_no_index(kinds, tmp_path):
    with pytest.raises(UsageError, match="1 is the least"):
        suggest(kinds, 0)
    with pytest.raises(InputError, match="There is no index"):
        suggest(tmp_path / "none")


def test_an_emptied_index_has_nothing_to_label(kinds):
    from indexes.catalog.writer import writing_catalog
    from indexes.labels.summary import summarise

    with writing_catalog(kinds) as catalog:
        catalog.begin()
        catalog.bury(catalog.delete_patches("1", ()))
        catalog.commit()
    with pytest.raises(InputError, match="is empty"):
        suggest(kinds)
    assert summarise(kinds).as_json() == {
        "things": 0, "given": 0, "spread": 0, "coverage": 0.0, "classes": {}, "batches": [],
    }  # fmt: skip


def test_the_list_is_filled_in_and_imported(kinds, tmp_path, places_say):
    target = tmp_path / "next.csv"
    found = suggest(kinds, 3)
    write_list(target, found.suggestions)
    with target.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [int(line["id"]) for line in lines] == [one.place.id for one in found.suggestions]
    assert {line["label"] for line in lines} == {""}
    lines[0]["label"] = "first"
    with target.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    report = import_labels(kinds, target)
    assert (report.things, report.passed_over) == (1, 2)
    assert places_say(kinds) == {found.suggestions[0].place.id: "first"}
    with pytest.raises(StorageError, match="is there already"):
        write_list(target, found.suggestions)  # what was filled in is not lost


def test_pictures_are_sorted_into_folders_and_imported(kinds, tmp_path, places_say):
    found = suggest(kinds, 3)
    assert write_pictures(tmp_path / "sort", found.suggestions) == 3
    (tmp_path / "sort" / "cat").mkdir()
    first = found.suggestions[0].place.id
    (tmp_path / "sort" / f"patch-{first}.jpg").rename(
        tmp_path / "sort" / "cat" / f"patch-{first}.jpg"
    )
    assert import_labels(kinds, tmp_path / "sort").things == 1
    assert places_say(kinds) == {first: "cat"}


def test_the_page_holds_pictures_and_a_list_to_paste(kinds, tmp_path):
    found = suggest(kinds, 3)
    target = tmp_path / "new" / "sheet.html"
    write_sheet(target, found, "index")
    page = target.read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "&lt;0&gt;.mp4" in page
    assert "<0>" not in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|https?:", page)
    pasted = re.search(r"<textarea[^>]*>(.*)</textarea>", page, re.DOTALL)[1]
    ids = [one.place.id for one in found.suggestions]
    assert pasted.split() == ["id,label", *(f"{patch}," for patch in ids)]


def test_an_index_without_pictures_gives_a_page_that_says_so(index, seen, clusters, tmp_path):
    found = suggest(index([seen(v) for v in clusters(0, 3)]), 2)
    write_sheet(tmp_path / "sheet.html", found, "index")
    assert (tmp_path / "sheet.html").read_text().count("no picture") == 2
    assert write_pictures(tmp_path / "sort", found.suggestions) == 0
