"""Labels given by hand: what they match, what is refused, and that undo brings back the old."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.labels.given import import_labels
from indexes.labels.table import changing_labels, undo
from toolkit.errors import InputError, StorageError
from toolkit.images import encode_jpeg
from toolkit.workspace import sha256_file


@pytest.fixture
def give(tmp_path):
    """give(index, "id,label", "1,cat") imports a list of these lines."""

    def lines(index, *lines, name="labels.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return import_labels(index, path)

    return lines


@pytest.fixture
def scene(index, seen, clusters):
    """Track t: patches 1, 2; alone: 3, 4 at one moment; an image in two parts: 5, 6; whole: 7."""
    v = clusters(0, 7)
    return index(
        [
            seen(v[0], "t", "clips/a.mp4", 10.0),
            seen(v[1], "t", "clips/a.mp4", 11.0, (5.0, 0.0, 15.0, 10.0)),
            seen(v[2], None, "clips/a.mp4", 20.0, (0.0, 0.0, 10.0, 10.0)),
            seen(v[3], None, "clips/a.mp4", 20.0, (50.0, 0.0, 60.0, 10.0)),
            seen(v[4], None, "pics/two.png", None, (0.0, 0.0, 10.0, 10.0)),
            seen(v[5], None, "pics/two.png", None, (10.0, 0.0, 20.0, 10.0)),
            seen(v[6], None, "pics/one.png", None),
        ]
    )


def test_an_id_labels_its_track_and_a_track_all_its_patches(scene, give, labels_of, places_say):
    report = give(scene, "id,label", "2,cat", "3,dog")
    assert (report.things, report.classes, report.refused) == (2, {"cat": 1, "dog": 1}, ())
    assert labels_of(scene) == places_say(scene) == {1: "cat", 2: "cat", 3: "dog"}
    give(scene, "track,label", "t,bird")
    assert places_say(scene) == labels_of(scene) == {1: "bird", 2: "bird", 3: "dog"}


@pytest.mark.parametrize(
    ("line", "patches"),
    [
        ("clips/a.mp4,10.2,,,,", {1, 2}),
        ("a.mp4,10.9,,,,", {1, 2}),
        ("clips/a.mp4,20.1,49,0,60,10", {4}),
        ("clips/a.mp4,19.6,0,0,10,10", {3}),
        ("one.png,,,,,", {7}),
        ("pics/two.png,,11,0,20,10", {6}),
    ],
    ids=["moment", "end of path", "box", "other box", "image", "part of image"],
)
def test_a_place_is_the_nearest_patch(scene, give, places_say, line, patches):
    give(scene, "source,time_s,x0,y0,x1,y1,label", f"{line},cat")
    assert places_say(scene) == dict.fromkeys(sorted(patches), "cat")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("99,,,,,,,,cat", "no patch 99"),
        (",nobody,,,,,,,cat", "no track nobody"),
        (",,b.mp4,1,,,,,cat", "no source b.mp4"),
        (",,clips/a.mp4,15,,,,,cat", "no patch of clips/a.mp4 within 0.5 s of 15 s"),
        (",,clips/a.mp4,,,,,,cat", "no patch of clips/a.mp4"),
        (",,clips/a.mp4,20,,,,,cat", "2 things are there"),
        (",,clips/a.mp4,20,25,0,35,10,cat", "covers the box by 50%"),
        (",,pics/two.png,,,,,,cat", "2 things are there"),
    ],
    ids=["id", "track", "source", "moment", "no time", "two", "box", "parts"],
)
def test_what_matches_nothing_is_refused_by_its_line(scene, give, places_say, line, reason):
    report = give(scene, "id,track,source,time_s,x0,y0,x1,y1,label", "7,,,,,,,,fine", line)
    (refused,) = report.refused
    assert refused.line == 3
    assert reason in refused.reason
    assert places_say(scene) == {7: "fine"}


def test_sources_of_the_same_end_are_told_apart_by_the_whole_path(index, seen, clusters, give):
    v = clusters(0, 2)
    made = index([seen(v[0], source="x/a.png"), seen(v[1], source="y/a.png")])
    report = give(made, "source,label", "a.png,cat", "y/a.png,dog")
    assert "2 sources end with a.png" in report.refused[0].reason
    assert report.classes == {"dog": 1}


def test_nothing_that_matches_is_an_error_and_leaves_no_batch(scene, give, rows):
    with pytest.raises(InputError, match="line 2: id 99"):
        give(scene, "id,label", "99,cat")
    with pytest.raises(InputError, match="No line has a label"):
        give(scene, "id,label", "1,")
    assert rows(scene, "SELECT count(*) FROM label_batches") == [(0,)]


def test_one_thing_with_two_labels_is_refused_naming_both_lines(scene, give, rows):
    with pytest.raises(InputError) as caught:
        give(scene, "id,label", "1,cat", "3,dog", "2,dog")
    for words in ("line 2 (id 1) says 'cat'", "line 4 (id 2) says 'dog'"):
        assert words in caught.value.problem
    assert rows(scene, "SELECT count(*) FROM label_batches") == [(0,)]


def test_the_same_label_twice_is_one(scene, give):
    assert give(scene, "id,label", "1,cat", "2,cat", "1,cat").things == 1


def test_the_newest_label_counts_and_is_told(scene, give, places_say):
    give(scene, "id,label", "1,cat", "3,cat")
    report = give(scene, "id,label", "1,dog", "3,cat")
    assert report.changed == 1
    assert places_say(scene) == {1: "dog", 2: "dog", 3: "cat"}


def state(index):
    with closing(sqlite3.connect(f"file:{index / 'catalog.sqlite'}?mode=ro", uri=True)) as found:
        return [line for line in found.iterdump() if "sqlite_sequence" not in line]


def test_undo_brings_back_the_state_before_to_the_byte(scene, give, places_say):
    give(scene, "id,label", "1,cat", "3,cat")
    before, said = state(scene), places_say(scene)
    give(scene, "id,label", "1,dog", "7,dog")
    assert places_say(scene) != said
    gone = undo(scene)
    assert (gone.id, gone.kind, gone.labels, gone.counting) == (2, "import", 2, 2)
    assert (state(scene), places_say(scene)) == (before, said)


def test_an_older_batch_can_be_taken_back_alone(scene, give, places_say):
    give(scene, "id,label", "1,cat", "3,cat")
    give(scene, "id,label", "1,dog")
    assert undo(scene, 1).labels == 2
    assert places_say(scene) == {1: "dog", 2: "dog"}


def test_what_cannot_be_undone_is_said(scene, give):
    with pytest.raises(InputError, match="has no labels"):
        undo(scene)
    give(scene, "id,label", "1,cat")
    with pytest.raises(InputError, match="no batch 5") as caught:
        undo(scene, 5)
    assert "There are: 1" in caught.value.mend


def test_labels_that_came_with_the_sources_are_not_undone_by_chance(scene, rows):
    with changing_labels(scene) as connection:
        connection.execute("INSERT INTO label_batches VALUES (NULL, 0, 'source', '{}')")
    with pytest.raises(InputError, match="came with its sources"):
        undo(scene)
    assert undo(scene, 1).kind == "source"


def test_no_index_is_made_where_there_is_none(tmp_path, give):
    with pytest.raises(InputError, match="There is no index"):
        give(tmp_path / "nothing", "id,label", "1,cat")
    assert not (tmp_path / "nothing").exists()


def test_a_second_writer_is_told(scene, give):
    with (
        changing_labels(scene),
        pytest.raises(StorageError, match="Another vr is writing"),
    ):
        give(scene, "id,label", "1,cat")


def test_a_second_writer_may_wait(scene, tmp_path):
    import threading

    (tmp_path / "l.csv").write_text("id,label\n1,cat\n")
    done = []
    second = threading.Thread(
        target=lambda: done.append(import_labels(scene, tmp_path / "l.csv", None, 30.0))
    )
    with changing_labels(scene):
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join(30)
    assert done[0].things == 1


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_folder_per_class_is_matched_by_content(tmp_path, index, seen, clusters, places_say):
    v = clusters(0, 5)
    paths = [picture(tmp_path / "all" / f"{seed}.png", seed) for seed in range(3)]
    made = index(
        [
            seen(v[0], source=str(paths[0]), sha256=sha256_file(paths[0])),
            seen(v[1], source=str(paths[1]), sha256=sha256_file(paths[1])),
            seen(v[2], source=str(paths[1]), sha256=sha256_file(paths[1]), box=(0, 0, 5, 5)),
            seen(v[3], source=str(paths[2]), sha256=sha256_file(paths[2]), box=(0, 0, 5, 5)),
            seen(v[4], source=str(paths[2]), sha256=sha256_file(paths[2]), box=(5, 0, 10, 5)),
        ]
    )
    classes = tmp_path / "classes"
    picture(classes / "cat" / "renamed.png", 0)
    picture(classes / "dog" / "deep" / "er.png", 1)  # the largest patch is the whole picture
    picture(classes / "dog" / "parts.png", 2)
    picture(classes / "dog" / "foreign.png", 9)
    (classes / ".hidden").mkdir()
    report = import_labels(made, classes)
    assert places_say(made) == {1: "cat", 2: "dog"}
    assert [(Path(one.name).name, one.reason) for one in report.refused] == [
        ("foreign.png", "no image of the index has these bytes"),
        ("parts.png", "the index has 2 patches of it: label them by id"),
    ]


def test_one_picture_in_two_classes_is_refused_naming_both(tmp_path, index, seen, clusters):
    path = picture(tmp_path / "a.png", 0)
    made = index([seen(clusters(0, 1)[0], source=str(path), sha256=sha256_file(path))])
    picture(tmp_path / "classes" / "cat" / "a.png", 0)
    picture(tmp_path / "classes" / "dog" / "b.png", 0)
    with pytest.raises(InputError) as caught:
        import_labels(made, tmp_path / "classes")
    assert "a.png says 'cat'" in caught.value.problem
    assert "b.png says 'dog'" in caught.value.problem


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "pictures beside no folder"])
def test_a_folder_without_classes_is_refused(tmp_path, scene, filled):
    (tmp_path / "flat").mkdir()
    if filled:
        picture(tmp_path / "flat" / "a.png", 0)
    with pytest.raises(InputError, match="no folder of pictures"):
        import_labels(scene, tmp_path / "flat")


def test_a_suggested_picture_is_known_by_name_and_bytes(
    tmp_path, index, seen, clusters, places_say
):
    jpegs = [encode_jpeg(np.full((8, 8, 3), shade, np.uint8)) for shade in (10, 200)]
    pairs = zip(clusters(0, 2), jpegs, strict=True)
    made = index([seen(vector, f"t{n}", thumbnail=j) for n, (vector, j) in enumerate(pairs)])
    folder = tmp_path / "sorted" / "cat"
    folder.mkdir(parents=True)
    (folder / "patch-2.jpg").write_bytes(jpegs[1])
    (folder / "patch-1.jpg").write_bytes(jpegs[1])  # not that patch's
    (folder / "patch-77.jpg").write_bytes(jpegs[1])
    report = import_labels(made, tmp_path / "sorted")
    assert places_say(made) == {2: "cat"}
    assert len(report.refused) == 2
