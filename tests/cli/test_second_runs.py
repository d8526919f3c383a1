"""Everything may be run again: what is done is kept, what is asked for is replaced."""

import json
from pathlib import Path


def test_mine_does_nothing_again(vr, workspace):
    before = {path: path.stat().st_mtime_ns for path in Path("patches").glob("*.tar")}
    again = vr("mine", "--json")
    assert again.code == 0
    assert (again.json["videos"], again.json["frames"], again.json["skipped"]) == (0, 0, 1)
    assert again.json["total_pairs"] > 0
    assert "1 video mined before" in again.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_mine_with_other_settings_keeps_what_is_there_and_says_so(vr, workspace):
    again = vr("mine", "--gap", "0.5", "--json")
    assert again.json["skipped"] == 1
    assert "--remine" in again.err


def test_train_and_mine_mine_alike(vr, workspace):
    # `vr train` mined this folder; were the defaults of `vr mine` others, it would say so.
    assert "--remine" not in vr("mine").err


def test_index_build_adds_nothing_again(vr, workspace, built):
    again = vr("index", "build", "--json")
    assert again.code == 0
    assert (again.json["added"], again.json["skipped"], again.json["new_vectors"]) == (0, 1, 0)
    assert again.json["vectors"] == built.index.json["vectors"]


def test_index_build_overwrite_takes_another_model(vr, workspace, other_bundle):
    rebuilt = vr("index", "build", "--model", other_bundle, "--overwrite", "--json")
    assert (rebuilt.code, rebuilt.json["dim"]) == (0, 16)


def test_export_replaces_the_bundle(vr, workspace, built):
    Path("exported/parity.json").unlink()
    again = vr("export", "--json")
    assert again.code == 0
    assert Path("exported/parity.json").is_file()
    card = json.loads(Path("exported/model.json").read_bytes())
    assert card["fingerprint"] == built.index.json["model"]


def test_train_into_an_existing_run_is_refused(refuses, workspace, tiny):
    before = Path("runs/first/model.safetensors").read_bytes()
    refuses(2, ["train", *tiny, "--name", "first"], "runs/first", "--resume", "--overwrite")
    assert Path("runs/first/model.safetensors").read_bytes() == before


def test_train_overwrite_replaces_the_run(vr, workspace, tiny):
    again = vr("train", *tiny, "--name", "first", "--overwrite", "--seed", "5", "--json")
    assert again.code == 0
    assert json.loads(Path("runs/first/settings.json").read_bytes())["seed"] == 5


def test_overwrite_deletes_no_folder_that_is_no_run(refuses, workspace, tiny):
    Path("runs/footage").mkdir()
    Path("runs/footage/precious.mp4").write_bytes(b"x")
    refuses(2, ["train", *tiny, "--name", "footage", "--overwrite"], "no run")
    assert Path("runs/footage/precious.mp4").is_file()


def test_resume_of_a_finished_run_trains_no_further(vr, workspace):
    weights = Path("runs/first/model.safetensors").read_bytes()
    again = vr("train", "--resume", "--workers", "0", "--json")
    assert (again.code, again.json["steps"], again.json["loss"]) == (0, 4, None)
    assert Path("runs/first/model.safetensors").read_bytes() == weights


def test_resume_with_another_setting_is_refused(refuses, workspace):
    refuses(2, ["train", "--resume", "--batch-pairs", "9"], "--batch-pairs")


def test_resume_without_a_run_is_refused(refuses, empty):
    refuses(1, ["train", "--resume"], "no run")
