"""Many queries at once: the answers of one by one, in files of two kinds."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from indexes.build.build import build
from indexes.search import batch as module
from indexes.search.answers import COLUMNS, write_answers
from indexes.search.batch import Answer, Batch, answer_batch
from indexes.search.index import open_index
from indexes.search.pictures import read_example
from indexes.search.settings import EVERYTHING
from toolkit.embedding import embed_images
from toolkit.embedding_files import embed_files
from toolkit.errors import InputError, MismatchError, StorageError, UsageError
from toolkit.records import Box, Quarantined


@pytest.fixture
def filled(tmp_path, pictures, embedder):
    paths = pictures(7)
    build(tmp_path / "index", paths, embedder)
    return tmp_path / "index"


def run(index_path, path, embedder, k=3):
    with open_index(index_path) as index:
        found = list(answer_batch(index, Batch.open(path), embedder, k, EVERYTHING))
    answers = [item for item in found if isinstance(item, Answer)]
    return answers, [item for item in found if isinstance(item, Quarantined)]


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_answers_are_those_of_one_query_after_the_other(
    tmp_path, filled, pictures, embedder, monkeypatch, at_once
):
    monkeypatch.setattr(module, "_PICTURES", at_once)
    queries = pictures([3, 50, 51, 4, 3])
    (tmp_path / "list.txt").write_text("\n".join(map(str, queries)))
    answers, set_aside = run(filled, tmp_path / "list.txt", embedder)
    assert set_aside == []
    assert [answer.query for answer in answers] == list(map(str, queries))
    with open_index(filled) as index:
        for answer in answers:
            vector = embed_images(embedder, [read_example(answer.query).image])[0]
            alone = index.search(vector, 3)
            assert [hit.id for hit in answer.hits] == [hit.id for hit in alone]


def test_regions_and_moments(tmp_path, filled, pictures, embedder, moving_clip):
    (path,) = pictures([3])
    (tmp_path / "list.csv").write_text(
        f"query,x0,y0,x1,y1\n{path},2,3,30,31\n{moving_clip}@1.5,0,0,64,64\n"
    )
    answers, _ = run(filled, tmp_path / "list.csv", embedder)
    assert [answer.query for answer in answers] == [
        f"{path} 2,3,30,31",
        f"{moving_clip}@1.5 0,0,64,64",
    ]
    with open_index(filled) as index:
        for answer, text, box in zip(
            answers,
            (str(path), f"{moving_clip}@1.5"),
            (Box(2, 3, 30, 31), Box(0, 0, 64, 64)),
            strict=True,
        ):
            vector = embed_images(embedder, [read_example(text, box).image])[0]
            assert [hit.id for hit in answer.hits] == [h.id for h in index.search(vector, 3)]


def test_what_cannot_be_read_is_set_aside_and_the_rest_is_answered(
    tmp_path, filled, pictures, embedder, moving_clip
):
    (good,) = pictures([3])
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:100])
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(small)
    (tmp_path / "list.csv").write_text(
        "query,x0,y0,x1,y1\n"
        f"{tmp_path}/half.png\n{tmp_path}/none.png\n{moving_clip}@999\n{moving_clip}\n"
        f"{tmp_path}\n{small},50,50,60,60\n{good},5,5,1,1\n{good}\n"
    )
    answers, set_aside = run(filled, tmp_path / "list.csv", embedder)
    assert [answer.query for answer in answers] == [str(good)]
    reasons = ["damaged", "none.png", "no frame", "is a video", "is a folder", "outside", "no box"]
    assert len(set_aside) == len(reasons)
    for item, word in zip(set_aside, reasons, strict=True):
        assert word in item.reason


def test_all_of_them_unreadable_is_no_error(tmp_path, filled, embedder):
    (tmp_path / "list.txt").write_text("x.png\ny.png\n")
    answers, set_aside = run(filled, tmp_path / "list.txt", embedder)
    assert answers == []
    assert [item.path for item in set_aside] == ["x.png", "y.png"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_without_names_are_called_by_their_row(tmp_path, filled, dtype):
    rows = np.random.default_rng(1).standard_normal((600, 16)).astype(dtype)
    np.save(tmp_path / "v.npy", rows)
    notes: list[str] = []
    with open_index(filled) as index:
        batch = Batch.open(tmp_path / "v.npy")
        assert (batch.total, batch.has_pictures) == (600, False)
        answers = list(answer_batch(index, batch, None, 4, EVERYTHING, notes.append))
        assert [answer.query for answer in answers] == [f"v.npy:{row}" for row in range(600)]
        for answer, row in zip(answers, rows, strict=True):
            alone = index.search(row.astype(np.float32), 4)
            assert [hit.id for hit in answer.hits] == [hit.id for hit in alone]
    assert "does not say which model" in notes[0]


def test_what_vr_embed_wrote_has_names_and_a_model(tmp_path, filled, pictures, embedder):
    paths = pictures([1, 2])
    embed_files(embedder, paths, tmp_path / "v.npy")
    answers, _ = run(filled, tmp_path / "v.npy", None)
    assert [answer.query for answer in answers] == list(map(str, paths))
    assert [answer.hits[0].place.source for answer in answers] == list(map(str, paths))


def test_vectors_of_another_model_or_length_are_refused(tmp_path, filled, pictures, other_embedder):
    embed_files(other_embedder, pictures([1]), tmp_path / "v.npy")
    with pytest.raises(MismatchError, match="from the model"):
        run(filled, tmp_path / "v.npy", None)
    np.save(tmp_path / "w.npy", np.ones((2, 15), np.float32))
    with pytest.raises(MismatchError, match="15 numbers"):
        run(filled, tmp_path / "w.npy", None)


def test_rows_that_are_no_direction_are_set_aside(tmp_path, filled):
    rows = np.random.default_rng(1).standard_normal((5, 16)).astype(np.float32)
    rows[0], rows[2, 3], rows[4, 0] = 0, np.nan, np.inf
    np.save(tmp_path / "v.npy", rows)
    answers, set_aside = run(filled, tmp_path / "v.npy", None)
    assert [answer.query for answer in answers] == ["v.npy:1", "v.npy:3"]
    assert [item.reason for item in set_aside] == [
        f"row {row} holds no direction." for row in (0, 2, 4)
    ]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00\xff\xff"])
def test_a_damaged_file_of_vectors(tmp_path, content):
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"v\.npy"):
        Batch.open(tmp_path / "v.npy")


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="folder"):
        Batch.open(tmp_path)
    for name in ("none.txt", "none.csv", "none.npy"):
        with pytest.raises(InputError, match=name):
            Batch.open(tmp_path / name)


def test_objects_in_a_file_of_vectors_are_never_unpickled(tmp_path):
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"v\.npy"):
        Batch.open(tmp_path / "v.npy")


def answers_of(filled, tmp_path):
    np.save(tmp_path / "v.npy", np.random.default_rng(1).standard_normal((3, 16)))
    return run(filled, tmp_path / "v.npy", None, k=2)[0]


def test_answers_as_lines_of_json(tmp_path, filled):
    answers = answers_of(filled, tmp_path)
    with write_answers(tmp_path / "out.jsonl") as write:
        for answer in answers:
            write(answer)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"query": a.query, "hits": [hit.as_json() for hit in a.hits]} for a in answers
    ]


def test_answers_as_csv_a_row_a_hit(tmp_path, filled):
    answers = answers_of(filled, tmp_path)
    with write_answers(tmp_path / "out.csv") as write:
        for answer in answers:
            write(answer)
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    hits = [(answer.query, hit) for answer in answers for hit in answer.hits]
    assert len(rows) == len(hits) == 6
    for row, (query, hit) in zip(rows, hits, strict=True):
        assert (row["query"], row["rank"], row["id"]) == (query, str(hit.rank), str(hit.id))
        assert float(row["score"]) == pytest.approx(hit.score, abs=1e-6)
        assert (row["source"], row["time_s"], row["track"]) == (hit.place.source, "", "")
        assert [float(row[name]) for name in ("x0", "y0", "x1", "y1")] == list(hit.place.box)


def test_an_error_leaves_no_half_file(tmp_path, filled, largest_file):
    answers = answers_of(filled, tmp_path)
    with pytest.raises(UsageError, match="kind"), write_answers(tmp_path / "out.txt"):
        pass

    def write_many():
        with write_answers(tmp_path / "o.csv") as write:
            for answer in answers * 1000:
                write(answer)

    with largest_file(100), pytest.raises(StorageError):
        write_many()
    assert not (tmp_path / "o.csv").exists()
