"""Lists of queries: lines as they are, CSV with boxes, and what is no list."""

import os

import pytest

from indexes.search.query_list import Line, count_lines, read_lines
from toolkit.errors import InputError
from toolkit.records import Box


def lines_of(tmp_path, content: bytes, name="list.txt"):
    (tmp_path / name).write_bytes(content)
    return list(read_lines(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"a.jpg\nb.mp4@1.5\n", ["a.jpg", "b.mp4@1.5"]),
        (b"a.jpg\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"\xef\xbb\xbfa.jpg\n\n  \nb.jpg\n\n", ["a.jpg", "b.jpg"]),
        (b"#a.jpg\na, b.jpg\n", ["#a.jpg", "a, b.jpg"]),
        (b"caf\xe9\xff.jpg\n", [os.fsdecode(b"caf\xe9\xff.jpg")]),
        ("東京.jpg\n".encode(), ["東京.jpg"]),
    ],
)
def test_each_line_is_a_query(tmp_path, content, texts):
    assert [line.text for line in lines_of(tmp_path, content)] == texts
    assert count_lines(tmp_path / "list.txt") == len(texts)


def test_broken_bytes_are_spelled_out_in_the_name(tmp_path):
    (line,) = lines_of(tmp_path, b"caf\xe9.jpg")
    assert line.name == "caf\\xe9.jpg"


def test_a_csv_has_regions(tmp_path):
    content = b'query,x0,y0,x1,y1\na.jpg,1,2,30,40.5\n"b, c.jpg",,,,\nd.mp4@3\n'
    assert lines_of(tmp_path, content, "list.csv") == [
        Line("a.jpg", Box(1, 2, 30, 40.5)),
        Line("b, c.jpg"),
        Line("d.mp4@3"),
    ]
    assert next(read_lines(tmp_path / "list.csv")).name == "a.jpg 1,2,30,40.5"


def test_a_csv_of_queries_alone_and_in_another_order(tmp_path):
    assert lines_of(tmp_path, b"query\nx\ny\n", "list.csv") == [Line("x"), Line("y")]
    content = b"\xef\xbb\xbfx1,y1,x0,y0,query\r\n3,4,1,2,x\r\n"
    assert lines_of(tmp_path, content, "b.csv") == [Line("x", Box(1, 2, 3, 4))]


@pytest.mark.parametrize("corners", ["9,9,1,1", "a,0,1,1", "nan,0,1,1", "1,,2,3", "1"])
def test_a_row_with_a_wrong_box_is_named_and_the_rest_stays(tmp_path, corners):
    content = f"query,x0,y0,x1,y1\nbad.jpg,{corners}\ngood.jpg\n".encode()
    bad, good = lines_of(tmp_path, content, "list.csv")
    assert "is no box" in bad.problem
    assert good == Line("good.jpg")


def test_a_row_without_a_query_or_with_a_nul_names_no_file(tmp_path):
    (row,) = lines_of(tmp_path, b"query,x0,y0,x1,y1\n,1,2,3,4\n", "list.csv")
    assert row.problem == "it names no file."
    nul, fine = lines_of(tmp_path, b"a\0b.jpg\nc.jpg\n")
    assert nul.problem == "it names no file."
    assert fine.problem == ""


@pytest.mark.parametrize(
    "header", ["", "a.jpg", "query,box", "query,query", "x0,y0,x1,y1", "Query", "query;x0"]
)
def test_another_header_is_refused(tmp_path, header):
    with pytest.raises(InputError, match="header") as caught:
        lines_of(tmp_path, f"{header}\na.jpg\n".encode(), "list.csv")
    assert "query,x0,y0,x1,y1" in caught.value.mend


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n"])
def test_a_list_of_nothing_is_an_error(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match="no query"):
        count_lines(tmp_path / "list.txt")


def test_a_file_without_line_ends_is_no_list(tmp_path):
    with pytest.raises(InputError, match="has no end"):
        lines_of(tmp_path, bytes(1 << 17))
    with pytest.raises(InputError, match=r"list\.csv"):
        lines_of(tmp_path, b"query\n" + b"x" * (1 << 18), "list.csv")


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="Cannot read the list"):
        count_lines(tmp_path / "none.txt")
