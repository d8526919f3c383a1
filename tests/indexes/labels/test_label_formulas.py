"""Texts that a spreadsheet runs: lists keep them to the byte, and say how many there are."""

import csv

import pytest

from indexes.build.build import build
from indexes.labels.csv_lines import is_formula
from indexes.labels.export.write import export_labels
from indexes.labels.given import import_labels
from indexes.labels.sheet import write_list
from indexes.labels.suggest import suggest

LABELS = ["=1+1", "+1", "-x", "@a", '=HYPERLINK("x","y")', "'=quoted", "plain", "a=b"]


@pytest.fixture
def index(tmp_path, pictures, embedder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "index", pictures(len(LABELS)), embedder)
    return tmp_path / "index"


def labels_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return [line["label"] for line in csv.DictReader(stream)]


def test_labels_come_back_to_the_byte(index, tmp_path):
    with (tmp_path / "given.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "label"])
        writer.writerows(enumerate(LABELS, start=1))
    import_labels(index, tmp_path / "given.csv")
    report = export_labels(index, tmp_path / "out.csv")
    assert labels_of(tmp_path / "out.csv") == LABELS
    assert report.formulas == 5
    import_labels(index, tmp_path / "out.csv")
    export_labels(index, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


def test_names_of_files_count_too(tmp_path, pictures, embedder, monkeypatch):
    """A list to fill in is made to be opened in a spreadsheet."""
    from pathlib import Path

    (bad, good) = pictures(2)
    bad.rename(tmp_path / "=cmd.png")
    monkeypatch.chdir(tmp_path)
    build(Path("index"), [Path("=cmd.png"), good], embedder)
    found = suggest(Path("index"), 2)
    assert write_list(Path("todo.csv"), found.suggestions) == 1
    assert "=cmd.png" in Path("todo.csv").read_text()


@pytest.mark.parametrize("text", ["", "a", "1", " =1", "'=1", "\u00e9"])
def test_what_is_none(text):
    assert not is_formula(text)
