"""Archives of a published list: damaged, hostile, or none at all."""

import gzip
import io
import random
import tarfile

import numpy as np
import pytest
from published_lists import jpeg, lines_of, name_of, tar_of, write_list

from toolkit.errors import InputError
from toolkit.images import decode_image
from toolkit.patches.import_list import import_list
from toolkit.patches.shards import read_pairs


def test_archives_are_not_trusted(folder, tmp_path):
    source = write_list(
        tmp_path, "../evil.jpg 1\nlink.jpg 1\n/abs.jpg 2\nhard.jpg 2\n" + lines_of([3])
    )
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("../evil.jpg", "/abs.jpg", name_of(0), name_of(1)):
            member = tarfile.TarInfo(name)
            member.size = len(jpeg(1))
            tar.addfile(member, io.BytesIO(jpeg(1)))
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, name_of(0)
            tar.addfile(member)
    report = import_list(source, [path], tmp_path / "out")
    assert (report.pairs, report.left_out) == (1, 2)
    assert [p.line for p in report.problems] == [1, 2, 3, 4]
    assert "leads out of the archive" in report.damaged[0].reason


def test_the_last_member_of_a_name_counts(tmp_path):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as tar:
        for seed in (1, 2):
            member = tarfile.TarInfo("a.jpg")
            member.size = len(jpeg(seed))
            tar.addfile(member, io.BytesIO(jpeg(seed)))
    import_list(write_list(tmp_path, "a.jpg 1\na.jpg 1"), [path], tmp_path / "out")
    (stored,) = read_pairs(tmp_path / "out")
    assert np.array_equal(stored.read_query(), decode_image(jpeg(2), name="x"))


def test_cut_and_damaged_archives_give_what_lies_before(folder, tmp_path):
    source = write_list(tmp_path, lines_of(range(30)))
    whole = tar_of(folder)
    torn = bytearray(whole)
    torn[len(whole) // 2 : len(whole) // 2 + 20_000] = random.Random(0).randbytes(20_000)
    for number, content in enumerate(
        (whole[: len(whole) // 2], bytes(torn), gzip.compress(whole)[:-20_000])
    ):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(content)
        report = import_list(source, [path], tmp_path / f"out{number}")
        assert 5 < report.pairs < 30
        assert report.left_out == 30 - report.pairs
        assert "what lies before was used" in report.damaged[0].reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no tar archive"),
        (b"This is no archive.\n" * 100, "no tar archive"),
        (b"BZh91AY&SY" + bytes(100), "packed with bzip2"),
        (b"PK\x03\x04" + bytes(100), "packed with zip"),
        (gzip.compress(b"no tar either\n" * 100), "no tar archive"),
        (gzip.compress(bytes(10_000_000)), "over 200 times its size"),
    ],
    # The names of tests must not hold the bytes: gzip writes the time of day into them.
    ids=["empty", "text", "bzip2", "zip", "gzip", "gzip-of-zeros"],
)
def test_files_that_are_no_archives(tmp_path, content, words):
    path = tmp_path / "patches.tar.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        import_list(write_list(tmp_path, "a 1\nb 1"), [path], tmp_path / "out")
    with pytest.raises(InputError, match="no file or folder"):
        import_list(write_list(tmp_path, "a 1\nb 1"), [tmp_path / "gone"], tmp_path / "out")


def test_a_header_that_claims_gigabytes_is_damage(tmp_path):
    member = tarfile.TarInfo("x" * 200)
    member.size = len(jpeg(1))
    huge = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    huge[124:136] = b"77777777777\0"  # eight gigabytes of name
    huge[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(huge[:512]))[0]
    path = tmp_path / "huge.tar"
    path.write_bytes(bytes(huge) + jpeg(1))
    with pytest.raises(InputError, match=r"no tar archive|no pair that can be used"):
        import_list(write_list(tmp_path, "a 1\nb 1"), [path], tmp_path / "out")
