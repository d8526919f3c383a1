"""Exactly once by content and reading, whatever a source is: seen in the index itself."""

import shutil

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.sources import Cut, Reading
from toolkit.errors import InputError, MismatchError, UsageError
from toolkit.mining.settings import MiningSettings

COUNTS = "SELECT count(*), count(DISTINCT source), count(DISTINCT input) FROM patches"


def with_reading(**settings):
    return BuildSettings(reading=Reading(**settings))


def write_table(path, vectors, sources):
    np.save(path, vectors)
    path.with_suffix(".csv").write_text("source\n" + "".join(f"{name}\n" for name in sources))
    return path


def random_vectors(count, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)


def test_a_folder_that_has_grown_embeds_only_what_is_new(tmp_path, pictures, embedder, rows):
    index, settings = tmp_path / "index", with_reading(cut=Cut(grids=((2, 2),)))
    pictures(3)
    first = build(index, [tmp_path / "pictures"], embedder, settings)
    assert (first.added, first.skipped, first.vectors, embedder.seen) == (3, 0, 12, 12)
    pictures([3, 4], "pictures/more")
    second = build(index, [tmp_path / "pictures"], embedder, settings)
    assert (second.added, second.skipped, second.vectors, embedder.seen) == (2, 3, 8, 20)
    third = build(index, [tmp_path / "pictures"], embedder, settings)
    assert (third.added, third.skipped, third.vectors, embedder.seen) == (0, 5, 0, 20)
    assert rows(index, COUNTS) == [(20, 5, 5)]


def test_another_reading_of_the_same_picture_is_added_beside_the_first(
    tmp_path, pictures, embedder, rows
):
    index, paths = tmp_path / "index", pictures(1)
    for settings in (
        BuildSettings(),
        with_reading(cut=Cut(grids=((1, 1),))),  # the same by another name
        with_reading(cut=Cut(windows=(20,))),
        with_reading(cut=Cut(windows=(20,), overlap=0.25)),
    ):
        build(index, paths, embedder, settings)
    readings = [reading for (reading,) in rows(index, "SELECT reading FROM inputs ORDER BY id")]
    assert readings == ["whole", "windows:20@0.5", "windows:20@0.25"]
    assert rows(index, "SELECT count(*) FROM sources") == [(1,)]


def test_copies_of_one_file_are_one_source_and_that_is_said(tmp_path, pictures, embedder, rows):
    first, second = pictures(2)
    for name in ("z.png", "zz.png"):
        shutil.copy(first, tmp_path / "pictures" / name)
    report = build(tmp_path / "index", [tmp_path / "pictures"], embedder)
    assert (report.added, report.skipped, report.vectors) == (2, 2, 2)
    (note,) = report.notes
    assert note == (
        f"{tmp_path}/pictures/z.png has the bytes of {first} and counts once with it, "
        "and so do 1 more."
    )
    assert rows(tmp_path / "index", "SELECT path FROM sources") == [(str(first),), (str(second),)]
    again = build(tmp_path / "index", [first, second], embedder)
    assert again.notes == ()


def test_a_table_is_indexed_once_and_again_where_its_names_change(tmp_path, embedder, rows):
    index = tmp_path / "index"
    path = write_table(tmp_path / "v.npy", random_vectors(5), "abcde")
    assert build(index, [path], embedder).vectors == 5
    assert build(index, [path], embedder).skipped == 1
    write_table(path, random_vectors(5), "abcdf")
    assert build(index, [path], embedder).vectors == 5
    assert embedder.seen == 0
    assert rows(index, COUNTS) == [(10, 6, 2)]


def test_the_vectors_of_a_table_lie_in_the_index_as_they_are(tmp_path, embedder, rows):
    from indexes.folder.store import open_folder

    vectors = random_vectors(300)
    build(tmp_path / "index", [write_table(tmp_path / "v.npy", vectors, range(300))], embedder)
    found = rows(
        tmp_path / "index",
        "SELECT patches.id, path FROM patches JOIN sources ON sources.id = source ORDER BY 1",
    )
    assert [path for _, path in found] == [str(number) for number in range(300)]
    store = open_folder(tmp_path / "index")
    stored = store.vectors_of([patch for patch, _ in found])
    store.close()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(stored, unit, atol=1e-6)
    assert rows(tmp_path / "index", "SELECT count(*) FROM thumbnails") == [(0,)]


def test_a_table_with_a_bad_row_is_set_aside_whole_and_the_rest_goes_on(
    tmp_path, pictures, embedder, rows
):
    vectors = random_vectors(5000)
    vectors[4999, 0] = np.nan
    bad = write_table(tmp_path / "v.npy", vectors, range(5000))
    report = build(tmp_path / "index", [bad, *pictures(2)], embedder)
    assert [q.path for q in report.quarantined] == [str(bad)]
    assert "Row 4999" in report.quarantined[0].reason
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 2)]


def test_a_table_of_another_model_leaves_the_index_as_it_was(tmp_path, pictures, embedder, rows):
    index, paths = tmp_path / "index", pictures(2)
    build(index, paths[:1], embedder)
    other = write_table(tmp_path / "v.npy", random_vectors(3)[:, :8], "abc")
    with pytest.raises(MismatchError, match="8 numbers"):
        build(index, [paths[1], other], embedder)
    assert rows(index, COUNTS) == [(1, 1, 1)]


def test_a_video_by_another_mining_is_another_reading(tmp_path, moving_clip, embedder, rows):
    index = tmp_path / "index"
    build(index, [moving_clip], embedder, with_reading(every_s=2.0))
    assert rows(index, "SELECT time_s, track FROM patches ORDER BY id") == [
        (0.0, None),
        (2.0, None),
        (4.0, None),
    ]
    build(index, [moving_clip], embedder, with_reading(every_s=2.0))
    assert rows(index, COUNTS) == [(3, 1, 1)]
    build(index, [moving_clip], embedder, with_reading(mining=MiningSettings(gap_s=0.5)))
    assert rows(index, "SELECT count(*) FROM sources") == [(1,)]
    assert rows(index, "SELECT count(*) FROM patches WHERE track IS NOT NULL")[0][0] > 5


def test_a_cut_video_is_indexed_as_far_as_it_goes(tmp_path, cut_clip, embedder):
    report = build(tmp_path / "index", [cut_clip], embedder, with_reading(every_s=0.5))
    assert report.vectors >= 4
    assert "cut" in report.quarantined[0].reason


def test_nothing_but_unreadable_sources_is_an_error_that_says_why(tmp_path, embedder):
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing to index .*a\.npy is no table"):
        build(tmp_path / "index", [tmp_path / "a.npy"], embedder)


def test_dense_windows_of_a_plain_model_are_refused(tmp_path, pictures, embedder):
    with pytest.raises(UsageError, match="no windows"):
        build(tmp_path / "index", pictures(1), embedder, with_reading(dense=True))
