"""`--store milvus:...`: the same commands and answers, with the index in Milvus."""

import json

import pytest

STORE = ("--store", "milvus:kept in Milvus")


def hits(done):
    assert done.code == 0, done.err
    content = done.json
    scores = [hit.pop("score") for hit in content["hits"]]
    return content["hits"], scores


def test_the_chain(vr, workspace):
    done = vr("index", "build", *STORE, "--json")
    assert done.code == 0, done.err
    folder = vr("index", "info", "--json").json
    made = done.json
    assert made["index"] == "milvus:kept in Milvus"
    same = ("vectors", "dim", "kind", "model", "inputs", "sources", "tracks", "labels")
    assert {key: made[key] for key in same} == {key: folder[key] for key in same}
    assert set(folder) <= set(made)
    assert made["measured_recall@10"] == 1.0

    for arguments in (["image.jpg"], ["--id", "2", "--group", "none", "-k", "4"]):
        ours, ours_scores = hits(vr("search", *arguments, *STORE, "--json"))
        theirs, theirs_scores = hits(vr("search", *arguments, "--json"))
        assert ours
        assert ours == theirs
        assert ours_scores == pytest.approx(theirs_scores, abs=1e-5)

    again = vr("index", "add", "patches", *STORE, "--json").json
    assert (again["added"], again["skipped"]) == (0, made["added"])
    added = vr("index", "add", "image.jpg", *STORE, "--json").json
    assert (added["added"], added["vectors"]) == (1, made["vectors"] + 1)

    would = vr("index", "remove", "clip.mp4", *STORE, "--dry-run", "--json").json
    gone = vr("index", "remove", "clip.mp4", *STORE, "--json").json
    assert would == gone | {"dry_run": True}
    assert gone["vectors"] == made["vectors"]
    assert vr("index", "verify", *STORE, "--json").json["sound"] is True
    left, _ = hits(vr("search", "image.jpg", *STORE, "--json"))
    assert [hit["source"] for hit in left] == ["image.jpg"]


def test_a_query_of_another_model(vr, refuses, workspace, other_bundle):
    vr("index", "build", "image.jpg", *STORE)
    refuses(5, ["search", "image.jpg", "--model", other_bundle, *STORE], "made by the model")
    refuses(5, ["index", "build", "--model", other_bundle, *STORE], "made by the model")
    refuses(2, ["explain", "1", *STORE], "keeps no lineage")


def test_what_cannot_be_had(vr, refuses, workspace, monkeypatch):
    refuses(1, ["index", "info", "--store", "milvus:nowhere"], "There is no index")
    refuses(2, ["index", "info", "--store", "elsewhere"], "names no store")
    refuses(2, ["search", "image.jpg", "--store", "milvus:http://a:b@c/d"], "VR_MILVUS_TOKEN")
    monkeypatch.setenv("VR_MILVUS_TOKEN", "not to be told")
    refuses(1, ["index", "info", "--store", "milvus:http://127.0.0.1:1"], "cannot be reached")
    done = vr("index", "info", "--store", "milvus:http://127.0.0.1:1", "--json")
    assert "not to be told" not in json.dumps(done.json) + done.err
    refuses(1, ["index", "build", "--store", "milvus:index"], "not empty")
