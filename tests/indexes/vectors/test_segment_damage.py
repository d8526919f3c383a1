"""A damaged file of a segment is named; FAISS never parses it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from indexes.records import FileMark
from indexes.vectors.approximate import index_segment
from indexes.vectors.files import FLAT, ROWS, base_suffix
from indexes.vectors.segment import open_segment
from indexes.vectors.verify import verify_segment
from toolkit.errors import MismatchError

DIM = 24
KEYS = ["Flat", "HNSW8", "IVF8,Flat", "IVF8,PQ6np"]
POSITIONS = 60


@pytest.fixture
def segment_of(tmp_path, make_vectors, write_flat, plan_of):
    def make(key):
        return index_segment(tmp_path, write_flat(make_vectors(300)), DIM, plan_of(key))

    return make


def paths(folder, segment):
    return {suffix: folder / (segment.stem + suffix) for suffix in segment.files}


@pytest.mark.parametrize("key", KEYS)
def test_a_flipped_byte_anywhere_is_named_and_never_parsed(tmp_path, segment_of, key, make_vectors):
    """Of vectors and rows, opening sees the header and the size; verifying sees every byte."""
    segment = segment_of(key)
    queries = make_vectors(2, seed=1)
    random = np.random.default_rng(0)
    for suffix, path in paths(tmp_path, segment).items():
        content = path.read_bytes()
        for at in [*range(46), *random.integers(len(content), size=POSITIONS)]:
            broken = bytearray(content)
            broken[at] ^= 1 << int(random.integers(8))
            path.write_bytes(broken)
            problems = verify_segment(tmp_path, segment, DIM)
            assert len(problems) == 1
            assert path.name in problems[0]
            if (suffix == FLAT and at < 45) or suffix == base_suffix(segment.files):
                with pytest.raises(MismatchError, match=rf"{path.name} is damaged"):
                    open_segment(tmp_path, segment, DIM)
            elif suffix == FLAT:
                open_segment(tmp_path, segment, DIM).search(queries, 3)
        path.write_bytes(content)
    assert verify_segment(tmp_path, segment, DIM) == []


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("harm", ["cut", "longer", "empty", "gone", "folder", "other"])
def test_a_file_of_another_size_or_none_is_named(tmp_path, segment_of, key, harm):
    segment = segment_of(key)
    for path in paths(tmp_path, segment).values():
        content = path.read_bytes()
        path.unlink()
        if harm == "folder":
            path.mkdir()
        elif harm != "gone":
            changed = {"cut": content[:-1], "longer": content + b"\0", "empty": b"", "other": b"x"}
            path.write_bytes(changed[harm])
        with pytest.raises(MismatchError, match=rf"{path.name} is damaged") as caught:
            open_segment(tmp_path, segment, DIM)
        assert "build it again" in caught.value.mend
        problems = verify_segment(tmp_path, segment, DIM)
        assert len(problems) == 1
        assert path.name in problems[0]
        path.rmdir() if harm == "folder" else path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert verify_segment(tmp_path, segment, DIM) == []


def test_a_catalog_that_tells_something_else_is_no_match(tmp_path, segment_of):
    segment = segment_of("Flat")
    for wrong in (replace(segment, vectors=299), replace(segment, vectors=0)):
        with pytest.raises(MismatchError, match="does not hold"):
            open_segment(tmp_path, wrong, DIM)
    with pytest.raises(MismatchError, match="does not hold 300 vectors of 25 numbers"):
        open_segment(tmp_path, segment, DIM + 1)
    # 300 x 24 numbers are also 200 x 36, but the header says which.
    same_size = replace(segment, vectors=200)
    with pytest.raises(MismatchError, match="header"):
        open_segment(tmp_path, same_size, 36)
    for suffix in (FLAT, ROWS):
        files = {key: mark for key, mark in segment.files.items() if key != suffix}
        with pytest.raises(MismatchError, match="the catalog does not name it"):
            open_segment(tmp_path, replace(segment, files=files), DIM)


def test_an_index_of_other_vectors_is_no_match(tmp_path, segment_of, make_vectors, write_flat):
    indexed = segment_of("IVF8,Flat")
    suffix = base_suffix(indexed.files)
    other = write_flat(make_vectors(200, seed=3))
    content = (tmp_path / (indexed.stem + suffix)).read_bytes()
    (tmp_path / (other.stem + suffix)).write_bytes(content)
    mixed = replace(
        other, settings=indexed.settings, files={**other.files, suffix: indexed.files[suffix]}
    )
    with pytest.raises(MismatchError, match="it is of 300 vectors of 24 numbers"):
        open_segment(tmp_path, mixed, DIM)


def test_bytes_that_faiss_cannot_parse_are_told_though_their_hash_is_right(tmp_path, segment_of):
    indexed = segment_of("IVF8,Flat")
    suffix = base_suffix(indexed.files)
    path = tmp_path / (indexed.stem + suffix)
    import hashlib

    for content in (b"no index at all", b"IxXX" + path.read_bytes()[4:], b"\0" * 64):
        path.write_bytes(content)
        mark = FileMark(hashlib.sha256(content).hexdigest(), len(content))
        wrong = replace(indexed, files={**indexed.files, suffix: mark})
        with pytest.raises(MismatchError, match="FAISS cannot read it"):
            open_segment(tmp_path, wrong, DIM)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nprobe": 1, "ef_search": 0},
        {"nprobe": -1, "ef_search": 0, "rerank": 0},
        {"nprobe": "many", "ef_search": 0, "rerank": 0},
        {"nprobe": None, "ef_search": 0, "rerank": 0},
        {"nprobe": float("inf"), "ef_search": 0, "rerank": 0},
    ],
)
def test_settings_that_are_none_are_told(tmp_path, segment_of, settings):
    wrong = replace(segment_of("IVF8,Flat"), settings=settings)
    with pytest.raises(MismatchError, match="wrong settings"):
        open_segment(tmp_path, wrong, DIM)


@pytest.mark.parametrize("settings", [{"nprobe": 0, "ef_search": 0, "rerank": 0}])
def test_an_effort_of_nothing_still_finds(tmp_path, segment_of, settings, make_vectors):
    for key in KEYS[1:]:
        segment = replace(segment_of(key), settings=settings)
        rows = open_segment(tmp_path, segment, DIM).search(make_vectors(3), 2)[1]
        assert (rows >= 0).all()


def test_a_huge_effort_is_cut_to_what_there_is(tmp_path, segment_of, make_vectors, nearest_rows):
    vectors = make_vectors(300)
    huge = {"nprobe": 10**12, "ef_search": 10**12, "rerank": 10**12}
    for key in KEYS[1:]:
        segment = replace(segment_of(key), settings=huge)
        rows = open_segment(tmp_path, segment, DIM).search(vectors[:2], 5)[1]
        assert rows[0].tolist() == nearest_rows(vectors, vectors[0], 5)


@pytest.mark.parametrize("harm", ["dtype", "shape", "pickle"])
def test_rows_that_are_none_are_told(tmp_path, segment_of, harm):
    segment = segment_of("Flat")
    path = tmp_path / (segment.stem + ROWS)
    size = path.stat().st_size
    if harm == "dtype":
        np.save(path, np.zeros((300, 2), np.float64))
    elif harm == "shape":
        np.save(path, np.zeros((2, 300), np.int64))
    else:
        np.save(path, np.array([{1: 2}], object), allow_pickle=True)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size
    with pytest.raises(MismatchError, match=r"rows\.npy is damaged: it (holds|is no array)"):
        open_segment(tmp_path, segment, DIM)


def test_ids_that_do_not_ascend_are_a_problem(tmp_path, make_vectors, make_ids):
    from indexes.vectors.flat import FlatWriter

    rows = make_ids(5)[[0, 1, 3, 2, 4]]
    with FlatWriter(tmp_path, DIM) as writer:
        writer.append(make_vectors(5))
        segment = writer.finish(rows)
    assert verify_segment(tmp_path, segment, DIM) == [
        f"The patch ids of the segment {segment.stem} do not ascend."
    ]


def test_the_settings_are_json(segment_of):
    for key in KEYS:
        settings = segment_of(key).settings
        assert json.loads(json.dumps(dict(settings))) == settings
