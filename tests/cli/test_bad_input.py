"""Each bad input by name: one message, the right exit code, no traceback, one JSON object."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from toolkit.images import encode_jpeg
from toolkit.patches.shards import PairSample, read_pairs, write_shard


def test_no_video_in_the_folder(refuses, empty):
    refuses(1, ["mine"], "no video", "this folder", ".mp4")
    refuses(1, ["train"], "no video", "vr mine")
    assert list(empty.iterdir()) == []


def test_a_path_that_is_not_there(refuses, workspace):
    refuses(1, ["mine", "nowhere"], "nowhere")
    refuses(1, ["index", "build", "nowhere"], "nowhere")
    refuses(1, ["search", "nowhere.jpg"], "nowhere.jpg")
    refuses(1, ["export", "nowhere"], "nowhere", "vr train")
    refuses(1, ["eval", "nowhere"], "nowhere")
    refuses(1, ["train", "--patches", "nowhere"], "nowhere", "vr mine")


def test_a_video_cut_in_the_middle_keeps_its_pairs(vr, empty, cut_clip):
    mined = vr("mine", cut_clip, "--json")
    assert mined.code == 3
    assert mined.json["pairs"] > 0
    [quarantined] = mined.json["quarantined"]
    assert quarantined["video"] == str(cut_clip)
    assert "cut" in quarantined["reason"]
    assert mined.err.count(str(cut_clip)) == 1  # the name once, not once more in the reason


def test_a_text_file_named_mp4_is_set_aside(vr, empty, text_clip, moving_clip):
    mined = vr("mine", text_clip, moving_clip, "--json")
    assert mined.code == 3
    assert mined.json["pairs"] > 0
    assert [item["video"] for item in mined.json["quarantined"]] == [str(text_clip)]
    again = vr("mine", text_clip, moving_clip, "--json")
    assert (again.code, len(again.json["quarantined"])) == (3, 1)  # it is still no video


def test_train_passes_on_that_a_video_was_set_aside(vr, empty, text_clip, moving_clip, tiny):
    shutil.copy(text_clip, "text.mp4")
    shutil.copy(moving_clip, "clip.mp4")
    trained = vr("train", *tiny, "--json")
    assert trained.code == 3
    assert trained.json["steps"] == 4
    assert "text.mp4" in trained.err


def test_nothing_moving(vr, refuses, empty, still_clip, tiny):
    shutil.copy(still_clip, "still.mp4")
    mined = vr("mine", "--json")
    assert (mined.code, mined.json["pairs"]) == (0, 0)
    assert "nothing that moves" in mined.err
    refuses(1, ["train", *tiny], "Nothing that moves")
    assert not Path("runs").exists()  # an error leaves no empty run behind


def test_one_pair(vr, empty, built, tiny):
    """Too little to learn from: said before any work is done."""
    stored = read_pairs(built.folder / "patches")[0]
    jpegs = encode_jpeg(stored.read_query()), encode_jpeg(stored.read_positive())
    write_shard(Path("patches/one.tar"), [PairSample(stored.pair, *jpegs)])
    trained = vr("train", *tiny, "--held-out", "0").fails(1, "pair")
    assert trained.out == ""
    # Searching does not need a network trained on it: one pair is two patches.
    indexed = vr("index", "build", "--model", built.folder / "exported", "--json")
    assert (indexed.code, indexed.json["vectors"]) == (0, 2)


def test_a_shard_that_is_none(refuses, workspace, tiny):
    shard = next(Path("patches").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:5000])
    refuses(1, ["train", *tiny, "--name", "x"], shard.name)


def test_a_truncated_image_in_a_search(refuses, workspace, truncated_jpeg):
    Path("half.jpg").write_bytes(truncated_jpeg)
    refuses(1, ["search", "half.jpg"], "half.jpg", "damaged")


def test_a_truncated_image_in_an_index_build_is_set_aside(vr, workspace, truncated_jpeg):
    Path("album").mkdir()
    Path("album/half.jpg").write_bytes(truncated_jpeg)
    shutil.copy("image.jpg", "album/whole.jpg")
    built = vr("index", "build", "album", "--json")
    assert built.code == 3
    assert built.json["new_vectors"] == 1
    assert [item["source"] for item in built.json["quarantined"]] == ["album/half.jpg"]


@pytest.mark.parametrize("query", ["clip.mp4", ".", "patches", "exported/model.json"])
def test_a_query_that_is_no_image(refuses, workspace, query):
    refuses(1, ["search", query], "image")


def test_an_empty_image(refuses, workspace):
    Path("empty.jpg").touch()
    refuses(1, ["search", "empty.jpg"], "empty.jpg is empty")


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,9,9", "9,9,1,1"])
def test_a_malformed_box(refuses, workspace, box):
    refuses(2, ["search", "image.jpg", "--box", box], "box", "x0,y0,x1,y1")


def test_a_box_outside_the_image(refuses, workspace):
    refuses(2, ["search", "image.jpg", "--box", "320,0,400,90"], "outside", "320x240")


@pytest.mark.parametrize("value", ["0", "-3", "2.5", "many"])
def test_an_impossible_top(refuses, workspace, value):
    refuses(2, ["search", "image.jpg", "--top", value], "--top")


@pytest.mark.parametrize("value", ["nan", "1.5", "-2"])
def test_an_impossible_min_score(refuses, workspace, value):
    refuses(2, ["search", "image.jpg", "--min-score", value], "--min-score")


def test_an_index_of_another_model(refuses, workspace, other_bundle):
    refuses(5, ["search", "image.jpg", "--model", str(other_bundle)], "model", "vr index build")
    refuses(5, ["index", "build", "--model", str(other_bundle)], "--overwrite")


def test_no_bundle(refuses, workspace):
    shutil.rmtree("exported")
    refuses(1, ["search", "image.jpg"], "exported", "vr export")
    refuses(1, ["index", "build"], "exported", "vr export")


def test_no_index(refuses, workspace):
    shutil.rmtree("index")
    refuses(1, ["search", "image.jpg"], "no index", "vr index build")
    refuses(1, ["index", "info"], "no index", "vr index build")


def test_a_damaged_onnx_file(refuses, workspace):
    onnx = Path("exported/model.onnx")
    content = bytearray(onnx.read_bytes())
    content[len(content) // 2] ^= 1
    onnx.write_bytes(content)
    refuses(5, ["search", "image.jpg"], "model.onnx")


def test_a_damaged_model_card(refuses, workspace):
    Path("exported/model.json").write_text("{")
    refuses(5, ["search", "image.jpg"], "model.json")


def test_a_damaged_catalog(refuses, workspace):
    for extra in Path("index").glob("catalog.sqlite-*"):
        extra.unlink()
    with Path("index/catalog.sqlite").open("r+b") as stream:
        stream.write(b"this is no database" * 10)
    refuses(5, ["search", "image.jpg"], "catalog.sqlite")
    refuses(5, ["index", "info"], "catalog.sqlite")
    refuses(5, ["index", "build"], "catalog.sqlite")


def test_a_catalog_without_its_model(refuses, workspace):
    with sqlite3.connect("index/catalog.sqlite") as connection:
        connection.execute("DELETE FROM meta")
    connection.close()
    refuses(5, ["search", "image.jpg"], "catalog.sqlite")


def test_a_segment_that_is_gone(refuses, workspace):
    next(Path("index/segments").glob("*.flat.faiss")).unlink()
    refuses(5, ["search", "image.jpg"], ".faiss")


def test_damaged_weights(refuses, workspace):
    weights = Path("runs/first/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    refuses(5, ["export"], "model.safetensors")


def test_a_run_that_is_not_finished(refuses, workspace):
    Path("runs/first/model.json").unlink()
    Path("runs/first/model.safetensors").unlink()
    refuses(2, ["export"], "not finished", "--resume --name first")
    refuses(2, ["eval"], "not finished", "--resume --name first")


def test_patches_that_were_moved(refuses, vr, workspace):
    Path("patches").rename("elsewhere")
    refuses(5, ["export"], "patches", "--patches")
    assert vr("export", "--patches", "elsewhere").code == 0


def test_no_gpu_where_one_is_asked_for(refuses, workspace, tiny):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for command in (["train", *tiny], ["eval"], ["index", "build"], ["search", "image.jpg"]):
        refuses(6, [*command, "--device", "cuda"], "--device cuda", "vr-toolkit[gpu]")


def test_export_trt_without_a_gpu_keeps_the_bundle(vr, workspace):
    from toolkit.machine.cuda import list_gpus

    if list_gpus():
        pytest.skip("this machine has a GPU")
    shutil.rmtree("exported")
    spoken = vr("export", "--trt").fails(6, "NVIDIA GPU", "vr-toolkit[trt]", "whole")
    assert spoken.out == "exported\n"
    told = vr("export", "--trt", "--json").fails(6).json
    assert told["exit_code"] == 6
    assert "NVIDIA GPU" in told["error"]
    assert (told["bundle"], told["engines"]) == ("exported", [])
    assert vr("index", "build", "--overwrite").code == 0  # the bundle works


def test_a_picture_of_one_colour_is_searched_like_any_other(vr, workspace):
    Path("black.jpg").write_bytes(encode_jpeg(np.zeros((1, 1, 3), np.uint8)))
    assert vr("search", "black.jpg", "--json").code == 0
