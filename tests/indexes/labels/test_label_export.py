"""Labels written out: exact bytes, and readers that know the formats from their documents."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.labels.export.write import export_labels, format_of
from indexes.labels.given import import_labels
from indexes.labels.records import Labelling
from indexes.labels.table import add_batch, changing_labels
from toolkit.errors import InputError, StorageError, UsageError
from toolkit.images import encode_jpeg


@pytest.fixture
def labelled(index, seen, clusters, tmp_path):
    """A track of a video that is not there, an image that is, and one patch spread."""
    path = tmp_path / "pics" / "a,b.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((50, 100, 3), np.uint8)).save(path)
    v = clusters(0, 6)
    made = index(
        [
            seen(v[0], "t", "gone/clip.mp4", 1.5, (10.0, 20.0, 30.5, 60.0)),
            seen(v[1], "t", "gone/clip.mp4", 2.25, (11.0, 20.0, 31.0, 60.0)),
            seen(v[2], None, "gone/clip.mp4", 1.5, (0.0, 0.0, 5.0, 5.0)),
            seen(v[3], None, str(path), None, (25.0, 10.0, 75.0, 35.0)),
            seen(v[4], None, str(path), None, (0.0, 0.0, 0.0, 0.0)),
            seen(v[5], None, str(path), None, (0.0, 0.0, 5.0, 5.0)),  # has no label
        ]
    )
    with changing_labels(made) as connection:
        given = [Labelling(1, 'say "cat"'), Labelling(-4, "dog"), Labelling(-5, "dog")]
        add_batch(connection, "import", {}, given)
        add_batch(connection, "spread", {}, [Labelling(-3, "dog", 0.87654)])
    return made, path


def test_csv_to_the_byte(labelled, tmp_path):
    index, path = labelled
    report = export_labels(index, tmp_path / "out.csv")
    assert report.patches == 5
    assert (tmp_path / "out.csv").read_bytes().decode() == (
        "id,source,time_s,x0,y0,x1,y1,track,label,origin,confidence\n"
        '1,gone/clip.mp4,1.5,10,20,30.5,60,t,"say ""cat""",given,1.0000\n'
        "3,gone/clip.mp4,1.5,0,0,5,5,,dog,spread,0.8765\n"
        '2,gone/clip.mp4,2.25,11,20,31,60,t,"say ""cat""",given,1.0000\n'
        f'4,"{path}",,25,10,75,35,,dog,given,1.0000\n'
        f'5,"{path}",,0,0,0,0,,dog,given,1.0000\n'
    )


def test_csv_without_what_was_spread(labelled, tmp_path):
    report = export_labels(labelled[0], tmp_path / "out.csv", given_only=True)
    assert report.patches == 4
    assert "spread" not in (tmp_path / "out.csv").read_text()


def test_an_export_can_be_imported_again(labelled, tmp_path, places_say):
    index, _ = labelled
    export_labels(index, tmp_path / "out.csv")
    before = places_say(index)
    report = import_labels(index, tmp_path / "out.csv")
    assert (report.things, report.changed, report.passed_over) == (3, 0, 1)
    assert places_say(index) == before


def read_coco(path):
    """(file name, time, size) -> (category, bbox, score) lists; every id has to resolve."""
    content = json.loads(path.read_text(encoding="utf-8"))
    images = {image["id"]: image for image in content["images"]}
    names = {one["id"]: one["name"] for one in content["categories"]}
    for items in (content["images"], content["annotations"], content["categories"]):
        assert len({item["id"] for item in items}) == len(items)
    found: dict = {}
    for one in content["annotations"]:
        image = images[one["image_id"]]
        place = (image["file_name"], image.get("time_s"), image.get("width"), image.get("height"))
        label = (names[one["category_id"]], one["bbox"], one["score"])
        found.setdefault(place, []).append(label)
        assert one["area"] == pytest.approx(one["bbox"][2] * one["bbox"][3])
        assert one["iscrowd"] == 0
    assert len({image["file_name"] for image in content["images"]}) == len(images)
    return found


def test_coco_names_pictures_and_frames_and_boxes_are_xywh(labelled, tmp_path):
    index, path = labelled
    report = export_labels(index, tmp_path / "out.json")
    assert report.unsized == ("gone/clip.mp4",)
    assert read_coco(tmp_path / "out.json") == {
        ("gone/clip.mp4#t=1.5", 1.5, None, None): [
            ('say "cat"', [10.0, 20.0, 20.5, 40.0], 1.0),
            ("dog", [0.0, 0.0, 5.0, 5.0], 0.8765),
        ],
        ("gone/clip.mp4#t=2.25", 2.25, None, None): [('say "cat"', [11.0, 20.0, 20.0, 40.0], 1.0)],
        (str(path), None, 100, 50): [
            ("dog", [25.0, 10.0, 50.0, 25.0], 1.0),
            ("dog", [0.0, 0.0, 100.0, 50.0], 1.0),  # of unknown size: the whole picture
        ],
    }


def test_coco_with_a_reader_of_others(labelled, tmp_path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    export_labels(labelled[0], tmp_path / "out.json")
    read = coco.COCO(str(tmp_path / "out.json"))
    assert len(read.getAnnIds()) == 5
    assert sorted(one["name"] for one in read.loadCats(read.getCatIds())) == ["dog", 'say "cat"']


def read_fiftyone(folder):
    """As the documents of FiftyOneImageDetectionDataset have it: {path: [(label, box)]}."""
    content = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    data = {path.name.rpartition(".")[0]: path for path in (folder / "data").iterdir()}
    found = {}
    for name, detections in content["labels"].items():
        path = Path(name) if Path(name).is_absolute() else data.pop(name)
        assert {one["label"] for one in detections} <= set(content["classes"])
        for one in detections:
            x, y, width, height = one["bounding_box"]
            assert min(x, y, width, height) >= 0
            assert max(x + width, y + height) <= 1 + 1e-6
        found[path] = [(one["label"], one["bounding_box"]) for one in detections]
    assert not data, "a picture without labels"
    return found


def test_fiftyone_gets_pictures_by_path_and_relative_boxes(labelled, tmp_path):
    index, path = labelled
    with changing_labels(index) as connection:
        connection.execute("DELETE FROM sources WHERE path = 'gone/clip.mp4'")
    export_labels(index, tmp_path / "out")
    assert read_fiftyone(tmp_path / "out") == {
        path: [("dog", [0.25, 0.2, 0.5, 0.5]), ("dog", [0.0, 0.0, 1.0, 1.0])]
    }


def test_fiftyone_gets_the_frames_of_a_video(moving_clip, index, seen, clusters, tmp_path):
    from toolkit.video.decode import frame_at

    times = (0.0, 0.48, 0.96, 3.0)
    made = index(
        [
            seen(v, "t", str(moving_clip), time_s, (0.0, 0.0, 16.0, 12.0))
            for v, time_s in zip(clusters(0, 4), times, strict=True)
        ]
    )
    (tmp_path / "l.csv").write_text("track,label\nt,thing\n")
    import_labels(made, tmp_path / "l.csv")
    told = []
    export_labels(
        made, tmp_path / "out", on_progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (4, 4)
    found = read_fiftyone(tmp_path / "out")
    assert [path.name for path in found] == [
        "source1_0us.jpg", "source1_480000us.jpg", "source1_960000us.jpg", "source1_3000000us.jpg",
    ]  # fmt: skip
    for (path, ((label, box),)), time_s in zip(found.items(), times, strict=True):
        expected = frame_at(moving_clip, time_s)
        height, width = expected.shape[:2]
        assert (label, box) == ("thing", [0.0, 0.0, round(16 / width, 6), round(12 / height, 6)])
        assert path.read_bytes() == encode_jpeg(expected)


def test_fiftyone_needs_the_pictures_and_names_the_one_that_is_gone(labelled, tmp_path):
    with pytest.raises(InputError, match=r"gone/clip\.mp4 cannot be read"):
        export_labels(labelled[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "csv"), ("a.JSON", "coco"), ("a", "fiftyone")]
)
def test_the_name_says_the_format(name, form):
    assert format_of(Path(name)) == form


def test_what_cannot_be_written_is_refused(labelled, index, tmp_path):
    made, _ = labelled
    with pytest.raises(UsageError, match="in which format"):
        export_labels(made, tmp_path / "labels.xml")
    target = tmp_path / "out.csv"
    target.write_text("mine")
    with pytest.raises(StorageError, match="there already"):
        export_labels(made, target)
    assert target.read_text() == "mine"
    export_labels(made, target, overwrite=True)
    assert target.read_text() != "mine"
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").touch()
    with pytest.raises(StorageError, match="holds other things"):
        export_labels(made, tmp_path / "holiday", overwrite=True)
    assert (tmp_path / "holiday" / "beach.jpg").exists()


def test_without_labels_there_is_nothing_to_export(index, seen, clusters, tmp_path):
    made = index([seen(v) for v in clusters(0, 2)])
    with pytest.raises(InputError, match="no labels to export"):
        export_labels(made, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
