"""Lists of labels as people and programs write them, and what is refused of them."""

import csv
import time

import pytest

from indexes.labels.csv_lines import LabelLine, Spot, read_lines
from indexes.labels.records import clean_label
from toolkit.errors import InputError


@pytest.fixture
def read(tmp_path):
    def from_bytes(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_lines(path)

    return from_bytes


IDS = [LabelLine(2, 3, "cat"), LabelLine(3, 4, "dog")]


@pytest.mark.parametrize(
    "content",
    [
        "id,label\n3,cat\n4,dog\n",
        "id,label\n3,cat\n4,dog",
        "id,label\r\n3,cat\r\n4,dog\r\n",
        "\ufeffid,label\n3,cat\n4,dog\n",
        "id;label\n3;cat\n4;dog\n",
        "id\tlabel\n3\tcat\n4\tdog\n",
        "ID , Label\n 3 , cat \n4,  dog\n",
        '"id","label"\n"3","cat"\n4,"dog"\n',
        "label,id\ncat,3\ndog,4\n",
        "id,label\n3,cat\n4,dog\n\n,\n",
        "id,guess,label,origin,confidence\n3,x,cat,given,1.0\n4,,dog,,\n",
    ],
    ids=["plain", "no end", "crlf", "bom", "semicolons", "tabs", "spaces", "quotes", "order",
         "empty lines", "of an export"],
)  # fmt: skip
def test_the_same_list_in_many_dialects(read, content):
    found = read(content)
    assert found.lines == IDS
    assert found.refused == []


def test_a_line_is_known_by_id_else_track_else_place(read):
    found = read(
        "id,track,source,time_s,x0,y0,x1,y1,label\n"
        "7,t,s.mp4,1,,,,,a\n"
        ",t 1,s.mp4,1,,,,,b\n"
        ",,a b.mp4,1.5,1,2,3,4,c\n"
        ",,p.png,,,,,,d\n"
    )
    assert [line.of for line in found.lines] == [
        7,
        "t 1",
        Spot("a b.mp4", 1.5, (1.0, 2.0, 3.0, 4.0)),
        Spot("p.png", None, None),
    ]
    assert [line.name for line in found.lines] == [
        "id 7", "track t 1", "a b.mp4 at 1.5 s", "p.png",
    ]  # fmt: skip


def test_decimal_commas_between_semicolons(read):
    assert read("source;time_s;label\ns.mp4;12,5;a\n").lines[0].of == Spot("s.mp4", 12.5, None)


def test_a_quoted_line_break_in_a_name_moves_the_numbers(read):
    found = read('track,label\n"two\nlines",a\nnext,b\n')
    assert [(line.number, line.of) for line in found.lines] == [(2, "two\nlines"), (4, "next")]


def test_what_has_no_label_or_was_spread_is_passed_over(read):
    found = read("id,label,origin\n1,,\n2,cat,spread\n3,cat,given\n")
    assert [line.of for line in found.lines] == [3]
    assert found.passed_over == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x,,,,,,,cat", "'x' is no id"),
        ("-3,,,,,,,cat", "'-3' is no id"),
        ("1.5,,,,,,,cat", "'1.5' is no id"),
        ("9999999999999999999,,,,,,,cat", "is no id"),
        (",,,,,,,cat", "names nothing"),
        (",s,soon,,,,,cat", "'soon' is no number"),
        (",s,nan,,,,,cat", "'nan' is no number"),
        (",s,inf,,,,,cat", "'inf' is no number"),
        (",s,1,1,2,3,cat", "7 values, the first line 8"),
        (",s,1,1,2,3,,cat", "lacks a side"),
        (",s,1,5,2,3,4,cat", "is empty"),
        ("1,,,,,,,cat,dog", "9 values, the first line 8"),
        ("1,,,,,,," + "x" * 10_000, "10000 characters; 200 are the most"),
        ("1,,,,,,,a\x07b", "cannot be printed"),
        ('1,,,,,,,"a\nb"', "cannot be printed"),
    ],
    ids=["word", "minus", "fraction", "huge", "nothing", "no time", "nan", "inf", "short",
         "open box", "empty box", "long", "ten thousand", "bell", "two lines"],
)  # fmt: skip
def test_one_bad_line_is_refused_by_its_number_and_the_rest_is_read(read, line, reason):
    found = read(f"id,source,time_s,x0,y0,x1,y1,label\n5,,,,,,,fine\n{line}\n6,,,,,,,fine\n")
    assert [one.of for one in found.lines] == [5, 6]
    (refused,) = found.refused
    assert refused.line == 3
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no list of labels"),
        (b"\n\n", "is no list of labels"),
        (b"label\ncat\n", "is no list of labels"),
        (b"id\n3\n", "is no list of labels"),
        (b"id,lable\n3,cat\n", "Did you mean label"),
        (b"id,label,weather\n3,cat,rain\n", "'weather'"),
        (b"id,label,label\n3,cat,dog\n", "two columns label"),
        (b"id,label\n3,c\0t\n", "line 2: it holds a zero byte"),
        (b"id,label\n3,cat\n4,d\xf6g\n", "line 3: it is not in UTF-8"),
        ("id,label\n3,cat\n".encode("utf-16"), "zero byte"),
        (b'id,label\n3,"cat\n4,dog\n', "line 2: unexpected end of data"),
        (b"id,label\n3," + b"x" * 200_000, "line 2: field larger"),
    ],
    ids=["empty", "blank", "no key", "no label", "typo", "unknown", "twice", "nul", "latin-1",
         "utf-16", "open quote", "endless cell"],
)  # fmt: skip
def test_what_is_no_list_is_refused_whole(read, content, words):
    with pytest.raises(InputError) as caught:
        read(content)
    assert words in str(caught.value)
    assert "labels.csv" in caught.value.problem


def test_a_list_that_is_not_there_and_one_that_is_too_large(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="No such file"):
        read_lines(tmp_path / "none.csv")
    monkeypatch.setattr("indexes.labels.csv_lines.MAX_BYTES", 5)
    (tmp_path / "large.csv").write_text("id,label\n")
    with pytest.raises(InputError, match="several parts"):
        read_lines(tmp_path / "large.csv")


def test_a_hundred_thousand_lines_take_a_moment(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("id", "label"), *((number, "cat") for number in range(100_000))])
    begun = time.process_time()
    found = read_lines(path)
    assert (len(found.lines), found.lines[-1].of) == (100_000, 99_999)
    assert time.process_time() - begun < 10


def test_labels_are_composed_and_trimmed():
    assert clean_label("  cafe\u0301 ") == "caf\u00e9"
    assert clean_label("黒猫 🐈") == "黒猫 🐈"
    for bad in ("", "  ", "a\u0000b", "a\u202eb", "x" * 201):
        with pytest.raises(ValueError, match="label"):
            clean_label(bad)
