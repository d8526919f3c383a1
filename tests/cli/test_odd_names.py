"""Names with spaces, letters of other scripts, brackets, newlines, and bytes that are no text."""

import json
import os
import shutil
from pathlib import Path

import pytest

NAMES = {
    "spaces": "a b  c",
    "unicode": "straße-東京-🚗",
    "markup": "[bold]x [red",
    "newline": "two\nlines",
    "escape": "\x1b[31mred",
    "no text": os.fsdecode(b"caf\xe9\xff"),
}
MINED = {NAMES["markup"], NAMES["newline"], NAMES["no text"]}  # mining each would take long


@pytest.fixture(params=NAMES.values(), ids=NAMES.keys())
def odd(request, tmp_path, monkeypatch, built):
    """A current folder, a clip and an image of that name, beside a bundle and patches."""
    folder = tmp_path / request.param
    folder.mkdir()
    shutil.copy(built.folder / "image.jpg", folder / f"{request.param}.jpg")
    shutil.copy(built.folder / "clip.mp4", folder / f"{request.param}.mp4")
    shutil.copytree(built.folder / "exported", folder / "exported")
    monkeypatch.chdir(folder)
    return request.param


def test_mine_index_and_search(vr, odd, built):
    clip = "clip"
    if odd in MINED:
        clip = os.fsencode(odd).decode("utf-8", "backslashreplace")
        assert vr("mine", "--json").code == 0
    else:
        shutil.copytree(built.folder / "patches", "patches")
    indexed = vr("index", "build", "patches", f"{odd}.jpg", "--json")
    assert indexed.code == 0, indexed.err
    found = vr("search", f"{odd}.jpg", "--json", "--html", f"{odd}.html")
    assert found.code == 0, found.err
    assert found.json["query"] == f"{odd}.jpg"
    sources = {hit["source"] for hit in found.json["hits"]}
    image = os.fsencode(odd).decode("utf-8", "backslashreplace")
    assert sources == {f"{clip}.mp4", f"{image}.jpg"}
    assert Path(f"{odd}.html").is_file()
    assert "\x1b" not in found.err


def test_a_table_and_errors_show_the_name(vr, odd):
    vr("index", "build", f"{odd}.jpg")
    found = vr("search", f"{odd}.jpg")
    assert found.code == 0
    missing = vr("search", f"{odd}.png").fails(1)
    assert "\x1b" not in found.out + missing.err
    if odd.isprintable():
        assert f"{odd}.jpg" in found.out
        assert f"{odd}.png" in missing.err
    assert json.loads(vr("search", f"{odd}.png", "--json").out)["exit_code"] == 1
