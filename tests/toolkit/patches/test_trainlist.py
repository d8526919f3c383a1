"""The published lists: text, folders and archives, and what becomes of the pairs."""

import gzip
import io
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from published_lists import jpeg, lines_of, name_of, shards_in, tar_of, write_list

from toolkit.errors import InputError, UsageError
from toolkit.evaluation.retrieval import build_gallery
from toolkit.images import decode_image
from toolkit.patches import import_list as module
from toolkit.patches import list_samples
from toolkit.patches.import_list import import_list
from toolkit.patches.list_clock import ListClock
from toolkit.patches.list_samples import ListImport
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.relations import TrackSpans, different
from toolkit.patches.roots import plain_name
from toolkit.patches.shards import read_pairs
from toolkit.patches.split import split_pairs
from toolkit.patches.trainlist import MAX_LINE_BYTES, read_list


def parsed(text):
    return [
        (pair.query.number, pair.query.path, pair.query.label, pair.problems)
        for pair in read_list(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    ]


def test_lines_are_read_two_by_two():
    assert parsed("a.jpg 1\nb.jpg 1\n\n  c d.jpg\t-7 \r\ne.jpg -7") == [
        (1, "a.jpg", 1, []),
        (4, "c d.jpg", -7, []),
    ]
    assert parsed(b"\xef\xbb\xbfa.jpg +5\nb.jpg 05") == [(1, "a.jpg", 5, [])]
    assert parsed("") == parsed("\n \n") == []


def test_wrong_lines_keep_their_place():
    text = "a.jpg 1\nb.jpg\nc.jpg 2\nd.jpg 2\ne.jpg 3\nf.jpg 4\ng.jpg 1.5\n\0 1\nh.jpg 9"
    problems = {number: reason for pair in parsed(text) for number, reason in pair[3]}
    assert sorted(problems) == [2, 6, 7, 8, 9]
    assert "no `path label`" in problems[2]
    assert "differs from that of its partner: 3 and 4" in problems[6]
    assert "1.5" in problems[7]
    assert "no partner" in problems[9]


def test_a_line_without_an_end_takes_no_memory():
    text = b"a.jpg 1\n" + b"x" * (3 * MAX_LINE_BYTES) + b" 1\nb.jpg 2\nc.jpg 2\n"
    first, second = parsed(text)
    assert first[3] == [(2, f"it is longer than {MAX_LINE_BYTES} bytes")]
    assert second == (3, "b.jpg", 2, [])
    exact = b"p" * (MAX_LINE_BYTES - 3) + b" 1\n"  # the longest that is taken
    assert parsed(exact + exact)[0][3] == []


def test_names_that_lead_out():
    assert plain_name("./a//b/./c.jpg") == "a/b/c.jpg"
    for name in ("/a", "../a", "a/../b", "", ".", "a\0b"):
        assert plain_name(name) is None


def test_pairs_arrive_byte_for_byte(folder, tmp_path):
    labels = [5, -3, 5, 0, 10**17]
    report = import_list(write_list(tmp_path, lines_of(labels)), [folder], tmp_path / "out")
    assert (report.pairs, report.labels, report.left_out) == (5, 4, 0)
    stored = read_pairs(tmp_path / "out")
    assert [s.pair.track.split("-", 1)[1] for s in stored] == ["5", "-3", "5", "0", f"{10**17}"]
    assert [s.pair.query.time_s for s in stored] == [0.0, 10.5, 2e-6, 20.5, 30.5]
    assert [s.pair.positive.time_s for s in stored] == [1e-6, 10.500001, 3e-6, 20.500001, 30.500001]
    for number, item in enumerate(stored):
        for side, span in enumerate((item.query, item.positive)):
            with item.shard.open("rb") as stream:
                stream.seek(span.offset)
                assert stream.read(span.size) == jpeg(2 * number + side)
        image = decode_image(jpeg(2 * number), name="x")
        assert np.array_equal(item.read_query(), image)
        assert item.pair.query_phash == perceptual_hash(image)
        assert item.pair.query.box.as_list() == [0, 0, 48, 48]
    assert {s.pair.path for s in stored} == {str(tmp_path / "trainlist.txt")}
    assert {s.pair.camera for s in stored} == {"trainlist"}
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".import")]


def test_folder_plain_tar_and_gzip_give_the_same_shards(folder, tmp_path):
    source = write_list(tmp_path, lines_of(range(30)))
    plain = tar_of(folder)
    (tmp_path / "named.tar.gz").write_bytes(plain)  # as the published ones
    (tmp_path / "real.tar").write_bytes(gzip.compress(plain, 1))
    found = []
    for number, root in enumerate((folder, tmp_path / "named.tar.gz", tmp_path / "real.tar")):
        out = tmp_path / f"out{number}"
        report = import_list(source, [root], out)
        assert report.pairs == 30
        assert report.damaged == []
        found.append(shards_in(out))
    assert found[0] == found[1] == found[2] != {}


def test_several_roots_are_searched_in_their_order(folder, tmp_path):
    source = write_list(tmp_path, "a.jpg 1\nvideos/000/0001.jpg 1\n")
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "a.jpg").write_bytes(jpeg(99))
    (tmp_path / "all.tar").write_bytes(tar_of(folder))
    (folder / "a.jpg").write_bytes(jpeg(98))
    roots = [tmp_path / "all.tar", extra, folder]
    import_list(source, roots, tmp_path / "out")
    (stored,) = read_pairs(tmp_path / "out")
    assert np.array_equal(stored.read_query(), decode_image(jpeg(99), name="x"))
    assert np.array_equal(stored.read_positive(), decode_image(jpeg(1), name="x"))


def test_other_formats_become_jpeg(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    Image.fromarray(smooth).save(root / "a.png")
    Image.fromarray(smooth).convert("L").save(root / "b.bmp")
    import_list(write_list(tmp_path, "a.png 1\nb.bmp 1"), [root], tmp_path / "out")
    (stored,) = read_pairs(tmp_path / "out")
    for image in (stored.read_query(), stored.read_positive()):
        assert np.abs(image.astype(int) - smooth).max() <= 3


def test_what_cannot_be_used_is_named_by_line_and_the_rest_taken(folder, tmp_path):
    (folder / "cut.jpg").write_bytes(jpeg(70)[:300])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.jpg").touch()
    (folder / "folder.jpg").mkdir()
    text = (
        "videos/000/0000.jpg 1\nvideos/000/0001.jpg 1\n"
        "gone.jpg 2\ncut.jpg 2\n"
        "text.jpg 3\nempty.jpg 3\n"
        "../videos/000/0000.jpg 4\nfolder.jpg 4\n"
        "/etc/hostname 5\nvideos/000/0002.jpg 5\n"
        "no label\nvideos/000/0003.jpg 6\n"
        "videos/001/0004.jpg 7"
    )
    report = import_list(write_list(tmp_path, text), [folder], tmp_path / "out")
    assert (report.pairs, report.left_out, report.wrong_lines) == (1, 6, 9)
    reasons = {problem.line: problem.reason for problem in report.problems}
    for line, words in (
        (3, "no such file"), (4, "damaged"), (5, "not an image"), (6, "empty"),
        (7, "leads out"), (8, "no plain file"), (9, "leads out"), (11, "path label"),
        (13, "no partner"),
    ):  # fmt: skip
        assert words in reasons[line], (line, reasons)
    assert len(read_pairs(tmp_path / "out")) == 1


def test_nothing_usable_is_an_error_that_leaves_nothing(folder, tmp_path):
    out = tmp_path / "out"
    for text, words in (
        (b"\n\n", "it has no lines"),
        (b"a.jpg 1\nb.jpg 1\n", "line 1: a.jpg: there is no such file"),
        (bytes(range(256)) * 50, "no `path label`|longer than"),
        (b"only one line 1", "no partner"),
    ):
        with pytest.raises(InputError, match=words):
            import_list(write_list(tmp_path, text), [folder], out)
        assert [path.name for path in out.iterdir()] == [".lock"]
    for source, words in (
        (tmp_path / "gone.txt", "not there"),
        (tmp_path, "no plain file"),
        (write_list(tmp_path, ""), "is empty"),
    ):
        with pytest.raises(InputError, match=words):
            import_list(source, [folder], out)


def test_problems_are_counted_but_not_all_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(list_samples, "MOST_PROBLEMS", 3)
    text = lines_of([1]) + "nothing here\n" * 20
    report = import_list(write_list(tmp_path, text), [folder], tmp_path / "out")
    assert [problem.line for problem in report.problems] == [3, 4, 5]
    assert (report.wrong_lines, report.left_out) == (20, 10)


def test_shards_are_bounded_and_repeatable(folder, tmp_path, monkeypatch):
    source = write_list(tmp_path, lines_of(range(30)))
    monkeypatch.setattr(module, "MOST_SHARD_PAIRS", 7)
    report = import_list(source, [folder], tmp_path / "a")
    sizes = [len(read_pairs(shard)) for shard in report.shards]
    assert sizes == [7, 7, 7, 7, 2]
    assert [shard.name[16:] for shard in report.shards] == [f"-{i:04d}.tar" for i in range(5)]
    import_list(source, [folder], tmp_path / "b")
    assert shards_in(tmp_path / "a") == shards_in(tmp_path / "b")
    monkeypatch.setattr(module, "MOST_SHARD_BYTES", 2 * len(jpeg(0)) + 1)
    report = import_list(source, [folder], tmp_path / "c")
    assert len(report.shards) > 15
    keys = [s.pair.key for s in read_pairs(tmp_path / "c")]
    assert keys == [s.pair.key for s in read_pairs(tmp_path / "a")]


def test_a_list_is_imported_once(folder, tmp_path, monkeypatch):
    source, out = write_list(tmp_path, lines_of(range(30))), tmp_path / "out"
    monkeypatch.setattr(module, "MOST_SHARD_PAIRS", 10)
    import_list(source, [folder], out)
    before = shards_in(out)
    with pytest.raises(UsageError, match="was imported into"):
        import_list(source, [folder], out)
    monkeypatch.setattr(module, "MOST_SHARD_PAIRS", 20)
    import_list(source, [folder], out, ListImport(overwrite=True))
    assert len(before) == 3
    assert len(shards_in(out)) == 2  # the third one of before is gone
    assert len(read_pairs(out)) == 30


def test_an_import_that_breaks_leaves_the_old_shards(folder, tmp_path, monkeypatch):
    source, out = write_list(tmp_path, lines_of(range(30))), tmp_path / "out"
    import_list(source, [folder], out)
    before = shards_in(out)

    def stop(at):
        if at.pairs == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_list(source, [folder], out, ListImport(overwrite=True), stop)
    assert shards_in(out) == before
    assert sorted(p.name for p in out.iterdir()) == sorted([".lock", *before])


def test_labels_say_what_is_different(folder, tmp_path):
    source = write_list(tmp_path, lines_of([1, 2, 1, 3]))
    import_list(source, [folder], tmp_path / "track")
    pairs = [s.pair for s in read_pairs(tmp_path / "track")]
    same = np.array([[a == b for b in (1, 2, 1, 3)] for a in (1, 2, 1, 3)])
    assert np.array_equal(different(TrackSpans.of(pairs)), ~same)
    gallery = build_gallery(pairs)
    assert np.array_equal(gallery.relevant[:, 4:], same)
    import_list(source, [folder], tmp_path / "video", ListImport(labels="video"))
    pairs = [s.pair for s in read_pairs(tmp_path / "video")]
    assert len({pair.track for pair in pairs}) == 4
    assert np.array_equal(different(TrackSpans.of(pairs)), ~same)  # one video: unknown
    assert np.array_equal(build_gallery(pairs).relevant[:, 4:], np.eye(4, dtype=bool))


def test_any_whole_number_is_a_label(folder, tmp_path):
    large = [-(2**70), 2**64, 2**64 + 1, -(2**70)]
    import_list(write_list(tmp_path, lines_of(large)), [folder], tmp_path / "out")
    pairs = [s.pair for s in read_pairs(tmp_path / "out")]
    tracks = [pair.track for pair in pairs]
    assert [tracks.index(track) for track in tracks] == [0, 1, 2, 0]
    assert len({pair.query.time_s for pair in pairs}) == 4
    assert sorted(round(pair.query.time_s, 1) for pair in pairs) == [0.0, 0.0, 10.5, 20.5]


@pytest.mark.parametrize("labels", ["track", "video"])
def test_the_time_split_holds_out_whole_labels(folder, tmp_path, labels):
    order = [*range(15), *range(15)]  # every label comes again later
    import_list(
        write_list(tmp_path, lines_of(order)), [folder], tmp_path / "out", ListImport(labels)
    )
    split = split_pairs(read_pairs(tmp_path / "out"), "time", 0.25)
    sides = [{order[int(s.pair.key[-8:])] for s in side} for side in (split.train, split.held_out)]
    assert sides[0] == set(range(11))
    assert sides[1] == set(range(11, 15))
    assert len(split.train) + len(split.held_out) == 30  # none is lost on the boundary


@pytest.mark.parametrize("held_out", [0.1, 0.25, 0.3, 0.333, 0.5])
def test_no_boundary_of_the_time_split_falls_into_a_label(folder, tmp_path, held_out):
    import_list(write_list(tmp_path, lines_of([1])), [folder], tmp_path / "out")
    (stored,) = read_pairs(tmp_path / "out")
    for labels in range(2, 42):
        with closing(ListClock(tmp_path / f"clock{labels}")) as clock:
            times = [(label, clock.next_two(label)) for _ in range(3) for label in range(labels)]
        assert len({moment for _, both in times for moment in both}) == 6 * labels
        pairs = [
            replace(
                stored,
                pair=replace(
                    stored.pair,
                    key=f"{place}",
                    track=f"{label}-{place}",
                    query=replace(stored.pair.query, time_s=both[0]),
                    positive=replace(stored.pair.positive, time_s=both[1]),
                ),
            )
            for place, (label, both) in enumerate(times)
        ]
        split = split_pairs(pairs, "time", held_out)
        assert len(split.train) + len(split.held_out) == 3 * labels
        sides = [
            {s.pair.track.split("-")[0] for s in side} for side in (split.train, split.held_out)
        ]
        assert not sides[0] & sides[1]


def test_two_lists_are_unknown_to_each_other(folder, tmp_path):
    out = tmp_path / "out"
    import_list(write_list(tmp_path, lines_of([1, 2])), [folder], out)
    text = "".join(f"{name_of(place)} {place // 2}\n" for place in range(20, 24))
    import_list(write_list(tmp_path, text), [folder], out)
    pairs = [s.pair for s in read_pairs(out)]
    known = different(TrackSpans.of(pairs))
    assert len({pair.video for pair in pairs}) == 2
    for i in range(4):
        for j in range(4):
            assert known[i, j] == (i != j and pairs[i].video == pairs[j].video)


def test_settings_are_checked():
    with pytest.raises(UsageError, match="labels"):
        ListImport(labels="thing")
