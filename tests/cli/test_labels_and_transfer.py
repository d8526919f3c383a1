"""`vr eval --labels` and `vr transfer`, and what comes of the latter."""

import json
import shutil

import pytest
from labelled_pictures import write_labels

KEYS = {"method", "share", "labels", "draws", "accuracy", "interval", "class_mean"}
QUICK = ("--steps", "4", "--batch", "8")


@pytest.fixture
def labelled(workspace):
    write_labels(workspace / "colours", each=12)
    return workspace


def test_eval_on_labels(vr, labelled):
    found = vr("eval", "exported", "--labels", "colours", "--json")
    assert found.code == 0, found.err
    told = found.json
    assert told["subject"] == "exported"
    assert told["classes"] == ["blue", "green", "red"]
    assert told["pictures"] == told["train"] + told["test"] == 36
    assert set(told["baselines"]) == {"random network", "color histogram", "hog"}
    for results in (told["results"], *told["baselines"].values()):
        assert [(one["method"], one["share"]) for one in results] == [
            (method, share) for share in (0.01, 0.1, 1.0) for method in ("knn", "probe")
        ]
        for one in results:
            assert set(one) == KEYS
            low, high = one["interval"]
            assert 0 <= low <= one["accuracy"] <= high <= 1
    assert [one["labels"] for one in told["results"][::2]] == [3, 3, told["train"]]
    # Colours are all that a histogram sees, and nothing that gradients see.
    histogram = told["baselines"]["color histogram"][-1]["accuracy"]
    assert histogram == 1.0 > told["baselines"]["hog"][-1]["accuracy"]
    assert told["quarantined"] == []


def test_eval_on_labels_for_people_and_of_a_run(vr, labelled):
    (labelled / "colours" / "red" / "broken.png").write_bytes(b"no picture")
    found = vr("eval", "--labels", "colours")
    assert found.code == 3, found.err
    assert "linear probe" in found.out
    assert "broken.png" in found.err
    assert "pictures to learn from" in found.err


def test_a_bundle_and_its_run_measure_alike(vr, labelled):
    run, bundle = (
        vr("eval", subject, "--labels", "colours", "--json").json["results"]
        for subject in ("runs/first", "exported")
    )
    for one, two in zip(run, bundle, strict=True):
        assert one["accuracy"] == pytest.approx(two["accuracy"], abs=0.15)


def test_flags_of_eval_that_do_not_go_together(refuses, labelled):
    refuses(2, ["eval", "--labels", "colours", "--run", "runs/first"], "have no part")
    refuses(2, ["eval", "--group-by", "folder"], "needs --labels")
    refuses(1, ["eval", "--labels", "nowhere"], "nowhere")
    refuses(1, ["eval", "--labels", "colours/red"], "nothing to tell apart")


def test_transfer_export_and_name(vr, labelled):
    made = vr("transfer", "colours", *QUICK, "--name", "named", "--json")
    assert made.code == 0, made.err
    told = made.json
    assert told["classes"] == ["blue", "green", "red"]
    assert told["train"] + told["held_out"] == 36
    assert told["fingerprint"] == told["base_fingerprint"]
    low, high = told["interval"]
    assert low <= told["accuracy"] <= high
    assert (labelled / told["page"]).read_text().startswith("<!DOCTYPE html>")
    assert (labelled / "runs" / "latest").readlink().name == "first"

    exported = vr("export", "runs/named", "--out", "naming", "--json")
    assert exported.code == 0, exported.err
    assert exported.json["parity"]["classes"]["top1_agreement"] == 1.0
    named = vr("embed", "colours/red/00.png", "--model", "naming", "--json").json
    assert named["fingerprint"] == told["fingerprint"]
    shares = [one["probability"] for one in named["classes"]]
    assert sorted(shares, reverse=True) == shares
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    spoken = vr("embed", "colours/red/00.png", "--model", "naming")
    assert f"{100 * shares[0]:.1f} %  {named['classes'][0]['class']}" in spoken.err
    assert isinstance(json.loads(spoken.out), list)
    # The vectors are those of the run that it began with.
    assert "classes" not in vr("embed", "image.jpg", "--model", "exported", "--json").json


def test_a_fine_tuned_run_has_no_held_out_pairs(vr, refuses, labelled):
    from toolkit.model_card import ModelCard

    made = vr("transfer", "colours", "--mode", "finetune", *QUICK, "--name", "tuned", "--json")
    assert made.code == 0, made.err
    card = ModelCard.read(labelled / "runs" / "tuned")
    assert card.lineage["recipe"] == "transfer"
    refuses(2, ["eval", "runs/tuned"], "--labels")
    assert vr("eval", "runs/tuned", "--labels", "colours", "--json").code == 0


def test_vr_runs_lists_transfers_with_their_accuracy(vr, labelled):
    made = vr("transfer", "colours", *QUICK, "--name", "named", "--json").json
    runs = {run["name"]: run for run in vr("runs", "--json").json["runs"]}
    assert set(runs) == {"first", "named"}
    one = runs["named"]
    assert (one["recipe"], one["mode"], one["base"]) == ("transfer", "head", "runs/first")
    assert (one["state"], one["steps_done"], one["steps"]) == ("finished", 4, 4)
    assert (one["classes"], one["pictures"], one["train_pairs"]) == (3, made["train"], 0)
    assert one["best_accuracy"] == made["accuracy"] >= one["last_accuracy"]
    assert one["best_recall@1"] is one["last_recall@1"] is None
    assert (runs["first"]["mode"], runs["first"]["best_accuracy"]) == ("", None)
    line = next(line for line in vr("runs").out.splitlines() if "named" in line)
    assert "transfer, head, 3 classes on runs/first" in line
    assert f"{made['accuracy']:.3f} right" in line
    # Settings of one kind only can be held against each other.
    assert "named" not in vr("runs", "--compare").out

    told = vr("runs", "named", "--json").json
    assert told["settings"]["mode"] == "head"
    assert told["changes"] == {"steps": [4, 0], "batch": [8, 32]}
    assert told["last"]["accuracy"] == one["last_accuracy"]
    assert "Mode head" in vr("runs", "named").out


def test_vr_runs_names_a_damaged_transfer(vr, labelled):
    assert vr("transfer", "colours", *QUICK, "--name", "named").code == 0
    for damage in ('{"version": 1}', "{", '{"base": "x", "base_fingerprint": "", "settings": [1]}'):
        (labelled / "runs" / "named" / "transfer.json").write_text(damage)
        runs = {run["name"]: run for run in vr("runs", "--json").json["runs"]}
        assert runs["named"]["state"] == "damaged"
        assert runs["named"]["problem"]


def test_eval_of_a_head_is_that_of_the_run_it_began_from(vr, refuses, labelled):
    assert vr("transfer", "colours", *QUICK, "--name", "named").code == 0
    # That run has held out too few pairs, and that is what has to be said.
    vr("eval", "runs/first").fails(1, "no held-out pairs")
    said = vr("eval", "runs/named")
    said.fails(1, "no held-out pairs")
    assert "has the network of runs/first" in said.err
    shutil.move("runs/first", "runs/elsewhere")
    refuses(5, ["eval", "runs/named"], "runs/first", "not there")


def test_eval_of_a_transfer_measures_its_own_classes(vr, labelled):
    made = vr("transfer", "colours", *QUICK, "--name", "named", "--json").json
    told = vr("eval", "runs/named", "--labels", "colours", "--json").json["classifier"]
    assert (told["pictures"], told["learned"], told["unknown"]) == (
        made["held_out"],
        made["train"],
        [],
    )
    for key in ("accuracy", "interval", "class_mean"):
        assert told[key] == pytest.approx(made[key])
    shutil.copytree("colours/red", "colours/scarlet")
    again = vr("eval", "runs/named", "--labels", "colours")
    assert "it does not know: scarlet" in again.err
    assert "its own classes" in again.err


def test_eval_of_a_bundle_whose_run_is_gone_says_what_can_be_done(refuses, labelled):
    shutil.move("runs", "elsewhere")
    refuses(1, ["eval", "exported"], "runs/first", "--run", "--labels")


def test_eval_of_an_unfinished_transfer_says_how_to_go_on(refuses, labelled):
    folder = labelled / "runs" / "half"
    folder.mkdir()
    (folder / "transfer.json").write_text("{}")
    refuses(2, ["eval", "runs/half"], "not finished", "vr transfer --resume --name half")


def test_what_transfer_refuses(refuses, labelled):
    refuses(2, ["transfer"], "no labelled pictures")
    refuses(1, ["transfer", "nowhere"], "nowhere")
    refuses(1, ["transfer", "colours", "--from", "exported"], "no finished run")
    refuses(2, ["transfer", "colours", "--name", "first"], "not replaced")
    refuses(2, ["transfer", "colours", "--name", "a/b"], "a/b")
    refuses(2, ["transfer", "colours", "--batch", "1"], "batch")
    refuses(2, ["transfer", "--resume"], "--name")
    refuses(1, ["transfer", "--resume", "--name", "first"], "no run of `vr transfer`")
    refuses(2, ["transfer", "--resume", "--name", "x", "--group-by", "none"], "--group-by")
    refuses(2, ["transfer", "--resume", "--name", "x", "--from", "runs/first"], "--from")


def test_a_transfer_is_not_replaced_unasked_and_goes_on(vr, refuses, labelled):
    assert vr("transfer", "colours", *QUICK, "--name", "named").code == 0
    refuses(2, ["transfer", "colours", *QUICK, "--name", "named"], "--resume", "--overwrite")
    shutil.move("colours", "moved")
    refuses(5, ["transfer", "--resume", "--name", "named"], "colours")
    assert vr("transfer", "moved", "--resume", "--name", "named").code == 0
    assert vr("transfer", "moved", *QUICK, "--name", "named", "--overwrite").code == 0
    refuses(1, ["train", "--resume", "--name", "named"], "no run")


def test_unreadable_pictures_are_set_aside(vr, labelled):
    (labelled / "colours" / "red" / "broken.jpg").write_bytes(b"\xff\xd8")
    made = vr("transfer", "colours", *QUICK, "--name", "named", "--json")
    assert made.code == 3, made.err
    assert [one["picture"] for one in made.json["quarantined"]] == ["colours/red/broken.jpg"]


@pytest.mark.slow
def test_engines_of_a_classifier_are_refused_and_the_bundle_stands(vr, labelled):
    assert vr("transfer", "colours", *QUICK, "--name", "named").code == 0
    made = vr("export", "runs/named", "--out", "naming", "--trt-rtx", "--json")
    made.fails(2, "vectors only")
    assert (labelled / "naming" / "model.onnx").is_file()
