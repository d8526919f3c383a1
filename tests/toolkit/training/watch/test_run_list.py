"""The list of runs: whole, unfinished, imported and damaged ones, without torch."""

import json
import os
import subprocess
import sys

import pytest

from toolkit.errors import InputError
from toolkit.training.watch.run_list import differing, last_values, list_runs, summary_of

SETTINGS = {"recipe": "modern", "backbone": "small", "loss": "rank-hard", "steps": 100, "rate": 0.1}
DATA = {"patches": "patches", "digest": "0", "train_pairs": 640, "held_out": []}
ROWS = [
    {"step": 0, "recall@1": 0.25},
    {"step": 10, "loss": 0.5, "spread": 0.9},
    {"step": 50, "recall@1": 0.75},
    {"step": 60, "recall@1": 0.5},
]


def make(folder, name, *, begun_s=1000, settings=SETTINGS, rows=ROWS, card=None):
    path = folder / name
    path.mkdir(parents=True)
    (path / "settings.json").write_text(json.dumps(settings))
    (path / "data.json").write_text(json.dumps(DATA))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if card is not None:
        (path / "model.json").write_text(json.dumps(card))
    for file in path.iterdir():
        os.utime(file, (begun_s + 60, begun_s + 60))
    os.utime(path / "settings.json", (begun_s, begun_s))
    return path


def test_a_finished_run_is_summed_up(tmp_path):
    run = summary_of(make(tmp_path, "a", card={"lineage": {"run": "a"}}))
    assert (run.name, run.state, run.recipe, run.backbone, run.loss) == (
        "a", "finished", "modern", "small", "rank-hard"
    )  # fmt: skip
    assert (run.steps_done, run.steps, run.train_pairs) == (60, 100, 640)
    assert (run.best_recall_at_1, run.last_recall_at_1) == (0.75, 0.5)
    assert (run.begun_s, run.written_s) == (1000, 1060)
    assert run.alarm == run.problem == ""
    assert run.as_json()["best_recall@1"] == 0.75


def test_states_are_told_apart(tmp_path):
    make(tmp_path, "going", begun_s=2)
    make(tmp_path, "done", begun_s=1, card={"lineage": {"run": "done"}})
    make(tmp_path, "given", begun_s=3, rows=[], card={"lineage": {"source": "x.caffemodel"}})
    assert [(run.name, run.state) for run in list_runs(tmp_path)] == [
        ("done", "finished"), ("going", "unfinished"), ("given", "imported")
    ]  # fmt: skip
    assert list_runs(tmp_path)[2].best_recall_at_1 is None


def test_the_latest_is_marked_and_not_listed_twice(tmp_path):
    make(tmp_path, "a", begun_s=1)
    make(tmp_path, "b", begun_s=2)
    (tmp_path / "latest").symlink_to("a")
    assert [(run.name, run.latest) for run in list_runs(tmp_path)] == [("a", True), ("b", False)]


def test_an_alarm_stands_until_the_run_recovers(tmp_path):
    alarm = {"step": 70, "alarm": "Collapse."}
    assert summary_of(make(tmp_path, "a", rows=[*ROWS, alarm])).alarm == "Collapse."
    over = {"step": 90, "recovered": "Again."}
    assert summary_of(make(tmp_path, "b", rows=[*ROWS, alarm, over])).alarm == ""


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("settings.json", "{", "settings.json is no readable run settings"),
        ("settings.json", "[]", "holds no JSON object"),
        ("settings.json", '{"recipe": "modern"}', "lacks a setting: 'backbone'"),
        ("settings.json", None, "settings.json is no readable"),
        ("data.json", "{}", "data.json is no data record"),
        ("metrics.jsonl", "no row\n{}\n", "metrics.jsonl:1 is no JSON"),
        ("metrics.jsonl", "[1, 2]\n", "no row of figures"),
        ("metrics.jsonl", '{"step": "ten"}\n', "no row of figures"),
        ("model.json", "nothing", "model.json is no readable model card"),
    ],
)
def test_a_damaged_run_is_listed_with_the_reason_beside_the_whole_ones(
    tmp_path, file, content, reason
):
    make(tmp_path, "whole", begun_s=1)
    broken = make(tmp_path, "broken", begun_s=2, card={})
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(content)
    by_name = {run.name: run for run in list_runs(tmp_path)}
    assert by_name["whole"].state == "unfinished"
    assert by_name["broken"].state == "damaged"
    assert reason in by_name["broken"].problem


def test_a_row_that_a_kill_tore_is_no_damage(tmp_path):
    path = make(tmp_path, "a")
    with (path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 70, "lo')
    assert summary_of(path).steps_done == 60


def test_what_is_no_run_is_not_listed(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / ".draft").mkdir()
    (tmp_path / ".draft" / "settings.json").write_text("{}")
    (tmp_path / "file").write_text("")
    assert list_runs(tmp_path) == []


def test_a_folder_that_is_not_there_is_a_users_error(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        list_runs(tmp_path / "nothing")


def test_the_settings_that_differ_are_found(tmp_path):
    make(tmp_path, "a")
    make(tmp_path, "b", settings=SETTINGS | {"rate": 0.2, "ema": 0.9})
    assert differing(tmp_path, ["a", "b"]) == {
        "ema": {"a": None, "b": 0.9}, "rate": {"a": 0.1, "b": 0.2}
    }  # fmt: skip
    assert differing(tmp_path, ["a"]) == differing(tmp_path, []) == {}


def test_the_last_values_are_the_newest_of_each():
    assert last_values(ROWS) == {"step": 60, "recall@1": 0.5, "loss": 0.5, "spread": 0.9}
    assert last_values([]) == {}


def test_listing_loads_no_torch(tmp_path):
    make(tmp_path, "a", card={"lineage": {}})
    script = (
        "import sys; from pathlib import Path\n"
        "from toolkit.training.watch.run_list import list_runs\n"
        f"assert list_runs(Path({str(tmp_path)!r}))[0].state == 'finished'\n"
        "print([name for name in ('torch', 'jinja2', 'tensorboardX') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
