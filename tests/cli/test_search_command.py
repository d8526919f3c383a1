"""`vr search` and `vr explain` as people and programs use them."""

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

KEYS = ["rank", "score", "id", "source", "time_s", "box", "track", "label", "camera"]


def search(vr, *arguments):
    done = vr("search", *arguments, "--json")
    assert done.code == 0, done.err
    return done.json


def test_the_contract(vr, workspace):
    content = search(vr, "image.jpg")
    assert list(content) == [
        "query", "index", "hits", "milliseconds", "examples", "negatives", "nothing", "left_out",
    ]  # fmt: skip
    assert (content["query"], content["index"]) == ("image.jpg", "index")
    assert (content["nothing"], content["left_out"], content["negatives"]) == ("", [], [])
    assert content["hits"]
    for hit in content["hits"]:
        assert list(hit) == KEYS


def test_the_table_shows_ids_and_no_empty_label(vr, workspace):
    done = vr("search", "image.jpg")
    assert done.code == 0
    assert " id " in done.out
    assert " label " not in done.out


def test_a_moment_finds_what_was_seen_there(vr, workspace):
    first = search(vr, "image.jpg", "--group", "none", "-k", "1")["hits"][0]
    box = ",".join(str(value) for value in first["box"])
    where = f"{first['source']}@{first['time_s']}"
    hits = search(vr, where, "--box", box, "--group", "none")["hits"]
    assert hits[0]["id"] == first["id"]
    assert hits[0]["score"] > 0.98
    left = search(vr, where, "--box", box, "--exclude-own")["hits"]
    assert first["track"] not in {hit["track"] for hit in left}


def test_a_patch_needs_no_model(vr, workspace):
    shutil.rmtree("exported")
    content = search(vr, "--id", "2")
    assert content["examples"] == ["patch 2"]
    assert (content["hits"][0]["id"], content["hits"][0]["score"]) == (2, pytest.approx(1.0))
    left = search(vr, "--id", "2", "--exclude-own")["hits"]
    assert content["hits"][0]["track"] not in {hit["track"] for hit in left}
    assert search(vr, "--id", "2", "--id", "3", "--not", "1")["negatives"] == ["patch 1"]


def test_several_pictures(vr, workspace):
    both = search(vr, "image.jpg", "clip.mp4@1.0", "--combine", "all", "--group", "none")
    single = [search(vr, one, "--group", "none") for one in ("image.jpg", "clip.mp4@1.0")]
    scores = [max(hit["score"] for hit in content["hits"]) for content in single]
    assert both["hits"][0]["score"] == pytest.approx(max(scores), abs=1e-5)
    assert both["query"] == "image.jpg, clip.mp4@1.0"
    mean = search(vr, "image.jpg", "clip.mp4@1.0", "--not", "clip.mp4@2.0")
    assert mean["negatives"] == ["clip.mp4@2.0"]


def test_filters(vr, workspace):
    everything = search(vr, "image.jpg", "--group", "none", "-k", "999")["hits"]
    times = sorted(hit["time_s"] for hit in everything)
    middle = times[len(times) // 2]
    some = search(vr, "image.jpg", "--group", "none", "-k", "999", "--time", f"-{middle}")["hits"]
    assert {h["id"] for h in some} == {h["id"] for h in everything if h["time_s"] <= middle}
    for flags in (["--source", "*.mp4"], ["--camera", "clip"], ["--source", "x", "--source", "c*"]):
        found = search(vr, "image.jpg", "--group", "none", "-k", "999", *flags)["hits"]
        assert len(found) == len(everything)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--camera", "north"], "no patch is of the camera north"),
        (["--source", "x/*"], "no patch is from a source like x/*"),
        (["--time", "1:00:00-"], "no patch is of the time 3600 s"),
        (["--label", "cat"], "no patch has the label cat"),
        (["--min-score", "1"], "the best score is"),
    ],
)
def test_why_nothing_was_found_is_said(vr, workspace, flags, words):
    done = vr("search", "image.jpg", *flags)
    assert (done.code, done.out) == (0, "")
    assert f"nothing was found: {words}" in done.err
    assert words in search(vr, "image.jpg", *flags)["nothing"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["image"]),
        (["image.jpg", "--box", "1,2,3"], ["box"]),
        (["--id", "1", "--box", "1,2,3,4"], ["--box", "one picture"]),
        (["--id", "0"], ["0 is no ID", "vr search"]),
        (["--id", "x"], ["--id"]),
        (["--id", "99999999999999999999"], ["no ID"]),
        (["image.jpg", "--not", "99999999999999999999"], ["no ID"]),
        (["image.jpg", "--not", "0"], ["no ID"]),
        (["image.jpg", "--time", "20-10"], ["20-10", "--time"]),
        (["image.jpg", "--time", "soon"], ["soon"]),
        (["image.jpg", "--time", "-"], ["span of time"]),
        (["image.jpg", "--time", "5"], ["span of time"]),
        (["image.jpg", "--combine", "min"], ["--combine"]),
        (["image.jpg", "--group", "camera"], ["--group"]),
        (["image.jpg", "--rank", "2"], ["--rank", "--open"]),
        (["image.jpg", "--out", "x.jsonl"], ["--out", "--batch"]),
        (["image.jpg", "--batch", "x.txt"], ["IMAGE", "--batch"]),
        (["--id", "1", "--batch", "x.txt"], ["--id", "--batch"]),
        (["--html", "x.html", "--batch", "x.txt"], ["--html", "--batch"]),
    ],
)
def test_flags_that_make_no_sense(refuses, workspace, arguments, words):
    refuses(2, ["search", *arguments], *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--id", "99999"], ["no patch 99999", "vr search"]),
        (["image.jpg", "--not", "99999"], ["no patch 99999"]),
        (["image.jpg", "--not", "none.jpg"], ["none.jpg"]),
        (["image.jpg", "--not", "image.jpg"], ["is what is looked for"]),
        (["clip.mp4"], ["is a video", "clip.mp4@SECONDS"]),
        (["clip.mp4@999"], ["no frame at 999", "from 0.00 to"]),
        (["none.mp4@1"], ["none.mp4"]),
        (["image.jpg@1"], ["image.jpg"]),
        (["patches"], ["is a folder"]),
        (["--batch", "none.txt"], ["none.txt"]),
        (["--batch", "patches"], ["is a folder"]),
        (["--batch", "image.jpg"], ["is a query itself", "--batch"]),
        (["--batch", "clip.mp4"], ["is a query itself"]),
    ],
)
def test_what_cannot_be_looked_for(refuses, workspace, arguments, words):
    refuses(1, ["search", *arguments], *words)


def test_a_page_with_frames_of_the_video(vr, workspace):
    done = vr("search", "image.jpg", "--html", "hits.html", "--not", "2", "--min-score", "-0.9")
    assert done.code == 0
    page = Path("hits.html").read_text()
    assert "no clip.mp4 at its path" not in page
    assert page.count("<li>") == done.out.count("clip.mp4")
    assert "not like" in page
    assert "only scores from -0.9" in page
    Path("clip.mp4").unlink()
    assert vr("search", "image.jpg", "--html", "moved.html").code == 0
    assert "There is no clip.mp4 at its path now." in Path("moved.html").read_text()


def test_open_says_the_command_where_there_is_no_display(vr, workspace, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("cli.players.shutil.which", lambda name: name == "ffplay" or None)
    monkeypatch.setattr("cli.players.sys.platform", "linux")
    hits = search(vr, "image.jpg")["hits"]
    done = vr("search", "image.jpg", "--open", "--rank", "2")
    clip = Path("clip.mp4").absolute()
    assert f"ffplay -hide_banner -ss {hits[1]['time_s']:.3f} -i {clip}" in done.err
    assert "there is no hit 99" in vr("search", "image.jpg", "--open", "--rank", "99").err
    Path("clip.mp4").unlink()
    done = vr("search", "image.jpg", "--open", "--json").fails(1, "no file clip.mp4 to open")
    assert set(done.json) == {"error", "mend", "exit_code"}


def test_open_starts_a_player_without_a_shell(vr, workspace, monkeypatch):
    started = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("cli.players.shutil.which", lambda name: name)
    monkeypatch.setattr("cli.players.subprocess.Popen", lambda *a, **k: started.append((a, k)))
    assert vr("search", "image.jpg", "--open").code == 0
    (((command,), how),) = started
    assert command[0] == "mpv"
    assert command[1].startswith("--start=")
    assert command[-2:] == ["--", str(Path("clip.mp4").absolute())]
    assert "shell" not in how


@pytest.fixture
def listed(workspace):
    Path("list.csv").write_text(
        "query,x0,y0,x1,y1\nimage.jpg,,,,\nclip.mp4@1.0,10,10,90,90\nnone.jpg,,,,\n"
    )
    return "list.csv"


def test_a_batch_on_the_standard_output_is_a_line_a_query(vr, listed):
    done = vr("search", "--batch", listed, "-k", "2")
    assert done.code == 3
    assert "none.jpg" in done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["query"] for line in lines] == ["image.jpg", "clip.mp4@1.0 10,10,90,90"]
    alone = search(vr, "image.jpg", "-k", "2")["hits"]
    assert [hit["id"] for hit in lines[0]["hits"]] == [hit["id"] for hit in alone]
    assert list(lines[0]["hits"][0]) == KEYS


def test_a_batch_as_one_object(vr, listed):
    done = vr("search", "--batch", listed, "--json")
    assert done.code == 3
    content = done.json
    assert content["queries"][0]["query"] == "image.jpg"
    assert (content["answered"], content["left_out"]) == (2, [])
    assert [item["query"] for item in content["quarantined"]] == ["none.jpg"]


def test_a_batch_into_files(vr, listed):
    done = vr("search", "--batch", listed, "--out", "hits.csv")
    assert (done.code, done.out) == (3, "hits.csv\n")
    with Path("hits.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["query"] for row in rows} == {"image.jpg", "clip.mp4@1.0 10,10,90,90"}
    told = vr("search", "--batch", listed, "--out", "hits.jsonl", "--json")
    assert told.json["out"] == "hits.jsonl"
    assert "queries" not in told.json
    assert len(Path("hits.jsonl").read_text().splitlines()) == 2
    vr("search", "--batch", listed, "--out", "hits.txt").fails(2, ".jsonl or .csv")


def test_a_batch_of_embedded_vectors(vr, workspace):
    assert vr("embed", "image.jpg", "--out", "v.npy").code == 0
    shutil.rmtree("exported")
    (line,) = vr("search", "--batch", "v.npy", "-k", "3").out.splitlines()
    assert json.loads(line)["query"] == "image.jpg"
    Path("v.npy.json").unlink()
    done = vr("search", "--batch", "v.npy")
    assert "does not say which model" in done.err
    np.save("w.npy", np.zeros((2, 3), np.float32))
    vr("search", "--batch", "w.npy").fails(5, "3 numbers")


def test_a_damaged_segment_is_left_out_on_request(vr, workspace):
    assert vr("index", "build", "image.jpg").code == 0
    (name,) = (
        sqlite3.connect("index/catalog.sqlite")
        .execute("SELECT stem FROM segments ORDER BY id LIMIT 1")
        .fetchone()
    )
    with Path(f"index/segments/{name}.flat.faiss").open("r+b") as stream:
        stream.truncate(100)
    vr("search", "image.jpg").fails(5, name)
    done = vr("search", "image.jpg", "--allow-partial", "--json")
    assert done.code == 0
    assert "left out" in done.err
    assert name in done.json["left_out"][0]
    assert {hit["source"] for hit in done.json["hits"]} == {"image.jpg"}
    page = vr("search", "image.jpg", "--allow-partial", "--html", "x.html")
    assert page.code == 0
    assert "Left out: " in Path("x.html").read_text()
    explained = vr("explain", "1", "--allow-partial", "--json").json
    assert (explained["segment"], explained["nearest"]) == (None, [])
    assert "damaged, left out" in vr("explain", "1", "--allow-partial").out


def test_explain(vr, workspace):
    hit = search(vr, "image.jpg")["hits"][0]
    content = vr("explain", str(hit["id"]), "--json").json
    assert content["id"] == hit["id"]
    assert (content["source"]["path"], content["source"]["state"]) == ("clip.mp4", "same")
    assert content["time_s"] == hit["time_s"]
    assert content["training"]["run"] == "first"
    assert content["training"]["shard_of_source"] in content["training"]["shards"]
    assert {s["id"] for s in content["sightings"]}.isdisjoint(h["id"] for h in content["nearest"])
    spoken = vr("explain", str(hit["id"]))
    for word in ("clip.mp4", hit["track"], content["segment"]["stem"], "first", "like it"):
        assert word in spoken.out


def test_explain_without_the_run_or_the_source(vr, workspace):
    shutil.rmtree("runs")
    Path("clip.mp4").write_bytes(b"another")
    content = vr("explain", "1", "--json").json
    assert content["training"] is None
    assert content["source"]["state"] == "changed"
    assert "is another one now" in vr("explain", "1").err
    Path("clip.mp4").unlink()
    assert vr("explain", "1", "--json").json["source"]["state"] == "missing"


def test_explain_what_is_not_there(refuses, workspace):
    refuses(1, ["explain", "99999"], "no patch 99999")
    refuses(2, ["explain", "0"], "0 is no ID")
    refuses(2, ["explain", "99999999999999999999"], "no ID")
    refuses(2, ["explain", "x"], "ID")
    refuses(1, ["explain", "1", "--index", "nowhere"], "no index")
