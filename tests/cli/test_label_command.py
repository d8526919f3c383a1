"""`vr label` as typed: contracts, exit codes, and the round from a suggestion to an export."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def indexed(tmp_path, monkeypatch) -> Path:
    """A current folder with an index of 30 tracks of two kinds, two patches each."""
    from indexes.folder.sink import folder_sink
    from indexes.sources import IndexPatch, Origin, Source
    from indexes.stores import NewRow
    from toolkit.model_card import ModelCard
    from toolkit.preprocess import Preprocessing

    random = np.random.default_rng(0)
    card = ModelCard("chosen", 8, Preprocessing(32, 32), "f" * 64, {})
    origin = Origin("clips/[bold]a.mp4", None, "video", "gate")
    with folder_sink(tmp_path / "index", card, overwrite=False) as sink:
        number = sink.begin_input(Source(Path("made"), "table"), "made")
        rows = []
        for at in range(60):
            vector = np.eye(8)[at // 30] + 0.1 * random.standard_normal(8)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            box = (float(at), 0.0, at + 10.0, 10.0)
            track = f"t{at // 2}"
            patch = IndexPatch(origin, float(at), box, track, None)
            rows.append(NewRow(patch, vector, None, number))
        sink.add(rows)
        sink.commit()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, *lines: str) -> str:
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def half_of_each(vr):
    tracks = [f"t{number},left" for number in range(7)] + [f"t{n},right" for n in range(15, 24)]
    return vr("label", "import", write("half.csv", "track,label", *tracks), "--json")


def test_the_round_from_a_suggestion_to_an_export(vr, indexed):
    told = vr("label", "suggest", "-n", "4", "--csv", "next.csv", "--html", "next.html", "--json")
    assert told.code == 0, told.err
    suggestions = told.json["suggestions"]
    assert [one["rank"] for one in suggestions] == [1, 2, 3, 4]
    assert set(suggestions[0]) == {
        "rank", "id", "source", "time_s", "box", "track", "share", "guess", "confidence",
    }  # fmt: skip
    assert "no picture" in Path("next.html").read_text()

    with Path("next.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    filled = [f"{x['id']},{'left' if int(x['track'][1:]) < 15 else 'right'}" for x in lines]
    given = vr("label", "import", write("filled.csv", "id,label", *filled), "--json")
    assert (given.code, given.json["things"]) == (0, 4)

    made = vr("label", "spread", "--accuracy", "0.9", "--closed", "--uncalibrated", "--json")
    assert made.code == 0, made.err
    assert set(made.json) == {
        "index", "batch", "things", "given", "labelled", "coverage", "accuracy", "calibrated",
        "expected_accuracy", "left_out", "threshold", "neighbours", "temperature", "classes",
        "classes_of_one", "offer",
    }  # fmt: skip
    assert made.json["labelled"] == sum(made.json["classes"].values()) > 10

    listed = vr("label", "list", "--json").json
    assert (listed["given"], listed["spread"]) == (4, made.json["labelled"])

    out = vr("label", "export", "labels.csv", "--json")
    assert out.json == {
        "index": "index",
        "out": "labels.csv",
        "format": "csv",
        "patches": 2 * (4 + made.json["labelled"]),
        "unsized": [],
    }
    with Path("labels.csv").open(newline="") as stream:
        for line in csv.DictReader(stream):
            assert line["label"] == ("left" if int(line["track"][1:]) < 15 else "right")

    assert vr("label", "undo", "--json").json["kind"] == "spread"
    assert vr("label", "list", "--json").json["spread"] == 0


def test_people_are_told_the_same(vr, indexed):
    half_of_each(vr)
    refused = vr("label", "spread", "--dry-run").err
    assert "0 of 14 things" in refused
    assert "--uncalibrated labels without a promise" in refused
    spread = vr("label", "spread", "--uncalibrated")
    assert spread.code == 0
    assert "--uncalibrated" not in spread.err
    for words in ("from 16 labelled things", "when left out", "not calibrated",
                  "takes 19 labelled things or more, and there are 16", "--accuracy 0.9",
                  "vr label undo takes it back"):  # fmt: skip
        assert words in spread.err, spread.err
    dry = vr("label", "spread", "--uncalibrated", "--dry-run")
    assert "a dry run" in dry.err
    assert dry.out == spread.out
    told = vr("label", "spread", "--uncalibrated", "--dry-run", "--json").json
    assert in_table(spread.out) == [["label", "things"], *counted(told["classes"])]
    listed = vr("label", "list")
    assert "left" in listed.out
    assert "half.csv" in listed.out
    assert "of 30 things labelled: 16 given" in listed.err
    suggested = vr("label", "suggest", "-n", "2")
    assert "[bold]a.mp4" in suggested.out
    undone = vr("label", "undo")
    assert "took back batch 2 (spread)" in undone.err
    (_, row) = in_table(undone.out)
    assert (row[0], row[2]) == ("2", "spread")


def in_table(text):
    """The cells of a table on stdout, row by row."""
    lines = [line.strip("│┃ ") for line in text.splitlines() if line[:1] in "│┃"]
    return [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines]


def counted(classes):
    return [[name, str(number)] for name, number in classes.items()]


def test_an_import_and_its_undoing_give_their_tables(vr, indexed):
    """Data goes to stdout, talk to stderr, as with every other command."""
    name = write("two.csv", "track,label", "t0,[b]left", "t1,[b]left", "t20,right", "t99,right")
    told = vr("label", "import", name)
    assert told.code == 3
    assert in_table(told.out) == [["label", "things"], ["[b]left", "2"], ["right", "1"]]
    assert "3 things labelled as batch 1" in told.err
    (head, row) = in_table(vr("label", "undo").out)
    assert head == ["batch", "made", "kind", "labels", "counting", "from"]
    assert (row[0], *row[2:]) == ("1", "import", "3", "3", "two.csv")


def test_an_uncertain_spread_says_why(vr, indexed):
    """Enough labels, but nothing tells how well the one `odd` thing would be told."""
    half_of_each(vr)
    more = [f"t{number},right" for number in range(24, 28)]
    vr("label", "import", write("more.csv", "track,label", *more, "t29,odd"))
    told = vr("label", "spread").err
    assert "a thing that is alone in its class counts as one that was told wrong" in told
    assert "be content with less: --accuracy 0.9 labels 100%" in told


def test_lines_that_match_nothing_are_named_and_the_code_is_3(vr, indexed):
    lines = [f"t{number},left" for number in range(2)] + [f"[b]{n},left" for n in range(12)]
    name = write("some.csv", "track,label", *lines, "t5,")
    told = vr("label", "import", name)
    assert told.code == 3
    assert "set aside line 4: track [b]0: the index has no track [b]0" in told.err
    assert "and 2 more" in told.err
    assert "1 line without a label passed over" in told.err
    again = vr("label", "import", name, "--json")
    assert again.code == 3
    assert [one["line"] for one in again.json["refused"]] == list(range(4, 16))
    assert again.json["classes"] == {"left": 2}


def test_coco_of_a_video_that_is_gone_says_what_it_lacks(vr, indexed):
    half_of_each(vr)
    told = vr("label", "export", "labels.json", "--given", "--json")
    assert told.code == 0
    assert told.json["patches"] == 32
    assert told.json["unsized"] == ["clips/[bold]a.mp4"]
    assert "[bold]a.mp4 cannot be read" in told.err
    assert len(json.loads(Path("labels.json").read_text())["annotations"]) == 32


def test_mistakes_are_told_both_ways(refuses, vr, indexed):
    refuses(1, ["label", "spread"], "no labels to spread", "vr label suggest")
    refuses(1, ["label", "undo"], "has no labels")
    refuses(1, ["label", "export", "x.csv"], "no labels to export")
    refuses(1, ["label", "list", "--index", "nowhere"], "There is no index in nowhere")
    refuses(1, ["label", "import", "none.csv"], "Cannot read none.csv")
    refuses(1, ["label", "import", write("bad.csv", "id,lable", "1,x")], "Did you mean label?")
    refuses(1, ["label", "import", write("two.csv", "id,label", "1,a", "2,b")], "line 2", "line 3")
    refuses(2, ["label", "spread", "--accuracy", "95"], "accuracy of 95.0")
    refuses(2, ["label", "suggest", "-n", "0"], "greater than or equal to 1")
    refuses(2, ["label", "export", "x.xml"], "in which format")
    assert not Path("nowhere").exists()
    half_of_each(vr)
    refuses(1, ["label", "undo", "--batch", "9"], "no batch 9")
    refuses(1, ["label", "export", "folder"], "cannot be read")
    Path("taken.csv").touch()
    refuses(1, ["label", "export", "taken.csv"], "there already", "--overwrite")
    refuses(1, ["label", "suggest", "--csv", "taken.csv"], "there already")
