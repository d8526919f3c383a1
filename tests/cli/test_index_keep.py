"""`vr index remove`, `compact`, `verify`, budgets and dry runs as people and programs use them."""

import pytest

from cli.amounts import parse_bytes, parse_milliseconds
from toolkit.errors import UsageError
from toolkit.lock import writing

INDEX = [
    "index", "vectors", "dim", "kind", "key", "bytes", "memory_bytes", "model", "segments",
    "measured_recall@10", "removed", "mapped", "budget", "inputs", "sources", "tracks", "labels",
]  # fmt: skip


def vectors(vr):
    return vr("index", "info", "--json").json["vectors"]


def test_a_removal_its_dry_run_and_the_way_back(vr, workspace):
    before = vectors(vr)
    planned = vr("index", "remove", "*clip.mp4", "--dry-run", "--json")
    assert planned.code == 0
    assert vectors(vr) == before
    removed = vr("index", "remove", "*clip.mp4", "--json")
    keys = ["index", "sources", "vectors", "thumbnails", "labels", "read_again", "waiting"]
    assert list(removed.json) == [*keys, "dry_run"]
    assert removed.json == planned.json | {"dry_run": False}
    assert removed.json["vectors"] == removed.json["thumbnails"] == before > 0
    assert vectors(vr) == 0
    assert vr("search", "image.jpg", "--json").json["hits"] == []
    assert vr("index", "add", "patches", "--json").json["new_vectors"] == before


def test_a_compaction_follows_and_keeps_its_budget(vr, workspace):
    done = vr("index", "compact", "--recall", "1", "--memory", "1G", "--json")
    assert done.code == 0, done.err
    assert list(done.json) == [*INDEX, "removed_now", "bytes_before"]
    budget = {"memory_bytes": 1 << 30, "latency_ms": None, "recall": 1.0, "key": None}
    assert done.json["budget"] == budget
    assert "flat" in done.err
    vr("index", "add", "image.jpg")
    assert vr("index", "info", "--json").json["budget"] == budget


def test_verify_says_sound_or_damaged(vr, workspace):
    sound = vr("index", "verify", "--json")
    assert (sound.code, sound.json["sound"], sound.json["problems"]) == (0, True, [])
    (path,) = (workspace / "index" / "segments").glob("*.flat.faiss")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    damaged = vr("index", "verify", "--json")
    assert damaged.code == 5
    (problem,) = damaged.json["problems"]
    assert path.name in problem["what"]
    assert problem["mend"]
    told = vr("index", "verify")
    assert (told.code, told.out) == (5, "damaged\n")
    assert path.name in told.err


def test_a_dry_run_tells_the_plan_and_makes_nothing(vr, workspace):
    done = vr("index", "build", "clip.mp4", "--index", "new", "--dry-run", "--json")
    assert done.code == 0, done.err
    assert (done.json["vectors"], done.json["sources"], done.json["unknown"]) == (0, 1, 1)
    assert done.json["kind"] == "flat"
    assert done.json["reasons"]
    assert not (workspace / "new").exists()
    assert "1 source will give more" in done.err
    again = vr("index", "build", "--dry-run", "--json").json
    assert (again["vectors"], again["sources"]) == (vectors(vr), 0)


def test_an_addition_is_told_before_it_is_made(vr, refuses, workspace):
    before = vectors(vr)
    done = vr("index", "add", "image.jpg", "--dry-run", "--json")
    assert done.code == 0, done.err
    counted = [done.json[key] for key in ("vectors", "new_vectors", "sources", "unknown")]
    assert counted == [before, 1, 1, 0]
    assert vectors(vr) == before
    refuses(1, ["index", "add", "image.jpg", "--index", "none", "--dry-run"], "no index in none")


def test_a_key_that_cannot_be_made_is_never_remembered(vr, refuses, workspace):
    for key in ("IVF64,Flat", "IVF2,PQ7", "Nonsense"):
        refuses(2, ["index", "build", "image.jpg", "--index", "new", "--index-key", key], key)
        refuses(2, ["index", "add", "image.jpg", "--index-key", key], "no flag --index-key")
    assert vr("index", "build", "image.jpg", "--index", "new", "--json").json["vectors"] == 1


def test_info_has_the_whole_contract(vr, workspace):
    assert list(vr("index", "info", "--json").json) == INDEX
    assert "recall 0.95" in vr("index", "info").out


def test_a_folder_of_something_else_is_no_index(refuses, workspace):
    (workspace / "mine").mkdir()
    (workspace / "mine" / "diary.txt").write_text("dear")
    for flag in ([], ["--overwrite"]):
        refuses(1, ["index", "build", "image.jpg", "--index", "mine", *flag], "diary.txt")
    assert [path.name for path in (workspace / "mine").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("command", [["add", "image.jpg"], ["remove", "x"], ["compact"],
                                     ["verify"], ["info"]], ids=lambda words: words[0])  # fmt: skip
def test_without_an_index_each_says_how_to_make_one(refuses, workspace, command):
    refuses(1, ["index", *command, "--index", "none"], "There is no index", "vr index build")
    assert not (workspace / "none").exists()


def test_another_writer_is_waited_for_or_told(vr, refuses, workspace):
    with writing(workspace / "index", "the index"):
        for command in (["add", "image.jpg"], ["remove", "*"], ["compact"]):
            refuses(1, ["index", *command, "--wait", "0.2"], "Another vr is writing")
        assert "waiting for it" in vr("index", "compact", "--wait", "0.2").err
    assert "waiting" not in vr("index", "compact", "--wait", "0.2").err


@pytest.mark.parametrize(
    "flags",
    [["--memory", "lots"], ["--memory", "1K"], ["--latency", "0ms"], ["--latency", "x"],
     ["--recall", "0"], ["--recall", "1.1"], ["--index-key", "Nonsense"],
     ["--index-key", "Flat", "--memory", "1G"], ["--wait", "-1"]],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("command", ["build", "compact"])
def test_budgets_that_are_none_are_refused(vr, workspace, command, flags):
    done = vr("index", command, *flags)
    done.fails(2)
    assert vr("index", "info", "--json").json["budget"]["key"] is None


def test_a_budget_that_nothing_fits_names_one_that_does(refuses, workspace):
    refuses(
        1,
        ["index", "compact", "--latency", "0.001us"],
        "No index fits",
        "--latency",
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("1M", 1 << 20), ("1.5G", 3 << 29), ("2gib", 2 << 30), ("3 000 000", None), ("4T", 4 << 40),
     ("1048576", 1 << 20), ("-1G", None), ("", None), ("1e9", None), ("9" * 40, None)],
)  # fmt: skip
def test_amounts_of_memory(text, size):
    if size is not None:
        assert parse_bytes(text, "--memory") == size
        return
    with pytest.raises(UsageError, match="--memory"):
        parse_bytes(text, "--memory")


@pytest.mark.parametrize(
    ("text", "value"),
    [("10ms", 10.0), ("0.5 s", 500.0), ("7", 7.0), ("250us", 0.25), ("-1ms", None), ("0", None),
     ("", None), ("nan", None), ("1h", None)],
)  # fmt: skip
def test_times(text, value):
    if value is not None:
        assert parse_milliseconds(text, "--latency") == pytest.approx(value)
        return
    with pytest.raises(UsageError, match="--latency"):
        parse_milliseconds(text, "--latency")
