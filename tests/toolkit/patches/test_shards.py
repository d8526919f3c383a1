"""Pair shards: exact bytes, another reader, and everything that can be wrong with one."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

from toolkit.errors import ImageError, ShardError, StorageError
from toolkit.images import decode_image, encode_jpeg
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, read_pairs, read_shard, write_shard
from toolkit.records import Box, PatchPair, Sighting, TrackQuality


def sample(number, video="a" * 64):
    noise = np.random.default_rng(number).integers(0, 256, (24, 20, 3), np.uint8)
    pair = PatchPair(
        f"key-{number:04d}", video, "clips/a.mp4", "a", f"t{number % 3}",
        Sighting(number / 2, Box(1, 2, 31.5, 42)), Sighting(number / 2 + 1, Box(5, 2, 35, 42)),
        TrackQuality(0.9, 0.01, 0.8), perceptual_hash(noise), perceptual_hash(noise[::-1]),
    )  # fmt: skip
    return PairSample(pair, encode_jpeg(noise), encode_jpeg(noise[::-1]))


def add(tar, name, content, **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def test_what_is_written_is_read_again(tmp_path):
    samples = [sample(n) for n in range(5)]
    assert write_shard(tmp_path / "s.tar", samples) == 5
    stored = read_shard(tmp_path / "s.tar")
    assert [s.pair for s in stored] == [s.pair for s in samples]
    for read, written in zip(stored, samples, strict=True):
        expected = decode_image(written.positive_jpeg, name="x")
        np.testing.assert_array_equal(read.read_positive(), expected)
        query = decode_image(written.query_jpeg, name="x")
        np.testing.assert_array_equal(read.read_query(), query)


def test_the_same_pairs_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_shard(tmp_path / f"{name}.tar", [sample(n) for n in range(3)])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its open files
def test_webdataset_reads_the_shards(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    samples = [sample(n) for n in range(4)]
    write_shard(tmp_path / "s.tar", samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WDS_VERBOSE_CACHE", "0")
        read = list(webdataset.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False))
    assert [r["__key__"] for r in read] == [s.pair.key for s in samples]
    for got, put in zip(read, samples, strict=True):
        assert got["query.jpg"] == put.query_jpeg
        assert got["positive.jpg"] == put.positive_jpeg
        assert json.loads(got["json"]) == put.pair.as_json()


def test_an_empty_shard_holds_no_pairs(tmp_path):
    assert write_shard(tmp_path / "s.tar", []) == 0
    assert read_shard(tmp_path / "s.tar") == []


def test_an_empty_folder_holds_no_pairs(tmp_path):
    assert list(read_pairs(tmp_path)) == []


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    write_shard(tmp_path / "b.tar", [sample(1)])
    write_shard(tmp_path / "a.tar", [sample(2)])
    assert [s.pair.key for s in read_pairs(tmp_path)] == ["key-0002", "key-0001"]


def test_a_pair_in_two_shards_is_refused(tmp_path):
    for name in ("a", "b"):
        write_shard(tmp_path / f"{name}.tar", [sample(1)])
    with pytest.raises(ShardError, match="both hold the pair key-0001"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_shard_that_is_cut_is_refused(tmp_path, keep):
    path = tmp_path / "s.tar"
    write_shard(path, [sample(n) for n in range(6)])
    content = path.read_bytes()
    end = len(content.rstrip(b"\0"))  # a tar ends in zeros that nobody misses
    path.write_bytes(content[: int(end * keep)])
    with pytest.raises(ShardError, match=r"s\.tar"):
        read_shard(path)


def test_a_text_file_is_no_shard(tmp_path):
    (tmp_path / "s.tar").write_text("hello")
    with pytest.raises(ShardError, match="no readable pair shard"):
        read_shard(tmp_path / "s.tar")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("../../etc/passwd", {}),
        ("/etc/passwd", {}),
        ("folder/key.json", {}),
        ("key.txt", {}),
        ("key.json", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("key.json", {"type": tarfile.DIRTYPE}),
    ],
)
def test_members_outside_the_format_are_refused(tmp_path, name, attributes):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, name, b"", **attributes)
    with pytest.raises(ShardError, match="not of the format"):
        read_shard(tmp_path / "s.tar")


def test_an_outsized_record_is_refused_before_it_is_read(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "key.json", b" " * 70_000)
    with pytest.raises(ShardError, match="70000 bytes"):
        read_shard(tmp_path / "s.tar")


def test_a_pair_without_its_positive_is_refused(tmp_path):
    one = sample(0)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "k.json", json.dumps(one.pair.as_json()).encode())
        add(tar, "k.query.jpg", one.query_jpeg)
    with pytest.raises(ShardError, match=r"lacks positive\.jpg"):
        read_shard(tmp_path / "s.tar")


@pytest.mark.parametrize("record", [b"{}", b"[", b"[]", b'{"version": 2}'])
def test_a_damaged_record_is_refused(tmp_path, record):
    one = sample(0)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "k.json", record)
        add(tar, "k.positive.jpg", one.positive_jpeg)
        add(tar, "k.query.jpg", one.query_jpeg)
    with pytest.raises(ShardError, match="damaged"):
        read_shard(tmp_path / "s.tar")


def test_a_damaged_patch_names_its_shard_and_key(tmp_path):
    one = sample(0)
    half = one.query_jpeg[: len(one.query_jpeg) // 2]
    write_shard(tmp_path / "s.tar", [PairSample(one.pair, half, one.positive_jpeg)])
    with pytest.raises(ImageError, match=r"s\.tar:key-0000\.query\.jpg is damaged"):
        read_shard(tmp_path / "s.tar")[0].read_query()


def test_a_failing_writer_leaves_the_old_shard(tmp_path):
    path = tmp_path / "s.tar"
    write_shard(path, [sample(0)])
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    def failing():
        yield sample(1)
        raise RuntimeError("decoder")

    with pytest.raises(RuntimeError, match="decoder"):
        write_shard(path, failing())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.tar"]


def test_a_folder_that_is_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "patches").write_text("in the way")
    with pytest.raises(StorageError, match="in the way"):
        write_shard(tmp_path / "patches" / "s.tar", [sample(0)])


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, largest_file):
    samples = [sample(n) for n in range(20)]
    with largest_file(8192), pytest.raises(StorageError, match=r"Cannot write .*s\.tar: the file"):
        write_shard(tmp_path / "s.tar", samples)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_old_shard(tmp_path, largest_file):
    write_shard(tmp_path / "s.tar", [sample(0)])
    before = (tmp_path / "s.tar").read_bytes()
    with largest_file(8192), pytest.raises(StorageError):
        write_shard(tmp_path / "s.tar", [sample(n) for n in range(20)])
    assert (tmp_path / "s.tar").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar"]


def with_record(path, text):
    """A shard of one pair whose record is the given text."""
    one = sample(0)
    with tarfile.open(path, "w") as tar:
        add(tar, "k.json", text.encode())
        add(tar, "k.positive.jpg", one.positive_jpeg)
        add(tar, "k.query.jpg", one.query_jpeg)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999", '"nan"', "9" * 400])
@pytest.mark.parametrize("where", ["time", "box", "quality"])
def test_a_number_that_is_none_is_refused(tmp_path, bad, where):
    content = sample(0).pair.as_json()
    if where == "time":
        content["query"]["time_s"] = "HERE"
    elif where == "box":
        content["positive"]["box"][2] = "HERE"
    else:
        content["quality"]["appearance"] = "HERE"
    with_record(tmp_path / "s.tar", json.dumps(content).replace('"HERE"', bad))
    with pytest.raises(ShardError, match="record of the pair k is damaged"):
        read_shard(tmp_path / "s.tar")


def test_a_record_of_brackets_is_refused(tmp_path):
    with_record(tmp_path / "s.tar", "[" * 60_000)
    with pytest.raises(ShardError, match="nested too deep"):
        read_shard(tmp_path / "s.tar")
