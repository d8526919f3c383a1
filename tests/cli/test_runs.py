"""`vr runs`: what it says of a folder of runs, of one run, and of nothing."""

import json
import shutil

import pytest


@pytest.fixture
def place(built, tmp_path, monkeypatch):
    """A folder with the run of the bare chain, and one that a person has spoilt."""
    shutil.copytree(built.folder / "runs", tmp_path / "runs", symlinks=True)
    shutil.copytree(tmp_path / "runs/first", tmp_path / "runs/spoilt")
    (tmp_path / "runs/spoilt/settings.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_runs_are_listed_and_the_damaged_one_is_named(vr, place):
    said = vr("runs")
    assert said.code == 0
    line = next(line for line in said.out.splitlines() if "first (latest)" in line)
    for words in ("modern, small, infonce", "4 of 4", "finished"):
        assert words in line
    assert "damaged" in next(line for line in said.out.splitlines() if "spoilt" in line)
    assert "spoilt is damaged" in said.err
    assert "settings.json is no readable run settings" in said.err.replace("\n", " ")


def test_as_json_it_is_one_object(vr, place):
    told = vr("runs", "--json").json
    assert set(told) == {"folder", "runs"}
    first, spoilt = sorted(told["runs"], key=lambda run: run["name"])
    assert set(first) == {
        "name", "state", "latest", "begun_s", "written_s", "recipe", "backbone", "loss",
        "steps_done", "steps", "train_pairs", "best_recall@1", "last_recall@1", "alarm", "problem",
        "mode", "base", "pictures", "classes", "best_accuracy", "last_accuracy",
    }  # fmt: skip
    assert (first["state"], first["steps_done"], first["latest"]) == ("finished", 4, True)
    assert (spoilt["state"], spoilt["steps"]) == ("damaged", 0)
    assert spoilt["problem"]


@pytest.mark.parametrize("name", ["first", "runs/first", "latest"])
def test_one_run_is_shown_by_name_folder_or_link(vr, place, name):
    said = vr("runs", name)
    assert said.code == 0, said.err
    for words in ("runs/first", "batch_pairs", "8", "size", "32", "spread", "effective_rank"):
        assert words in said.out, words
    assert "report.html" in said.err


def test_one_run_as_json_says_what_differs_from_its_recipe(vr, place):
    told = vr("runs", "first", "--json").json
    settings = json.loads((place / "runs/first/settings.json").read_text())
    assert told["settings"] == settings
    assert {"batch_pairs", "size", "steps"} <= set(told["changes"])
    assert told["changes"]["steps"][0] == 4
    assert told["last"]["step"] == 4
    assert told["run"] == "runs/first"


def test_an_alarm_is_marked_and_said(vr, place):
    with (place / "runs/first/metrics.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": 4, "alarm": "Collapse: [bold]all[/] is one."}) + "\n")
    said = vr("runs")
    assert "finished, alarm" in said.out
    assert "Collapse: [bold]all[/] is one." in said.err
    assert "Collapse" in vr("runs", "first").err


def test_the_settings_that_differ_are_compared(vr, place):
    shutil.copytree(place / "runs/first", place / "runs/other")
    path = place / "runs/other/settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rate": 0.125}))
    out = vr("runs", "--compare").out
    assert "rate" in out
    assert "0.125" in next(line for line in out.splitlines() if "other" in line)
    assert "batch_pairs" not in out
    told = vr("runs", "--compare", "--json").json["differences"]
    assert list(told) == ["rate"]
    assert told["rate"]["other"] == 0.125
    shutil.rmtree(place / "runs/other")
    assert "same" in vr("runs", "--compare").out
    vr("runs", "first", "--compare").fails(2, "--compare needs several")


def test_an_empty_folder_says_what_to_do(vr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for made in (False, True):
        if made:
            (tmp_path / "runs").mkdir()
        said = vr("runs")
        assert (said.code, said.out) == (0, "")
        assert "vr train" in said.err
        assert vr("runs", "--json").json == {"folder": "runs", "runs": []}


def test_what_is_not_there_is_a_users_error(vr, place):
    vr("runs", "nothing").fails(1, "There is no run and no folder nothing")
    vr("runs", "spoilt").fails(5, "settings.json is no readable run settings")
