"""`vr import` as a stranger types it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from toolkit.images import encode_jpeg
from toolkit.model_card import ModelCard
from toolkit.training.held_out import held_out_pairs
from toolkit.training.run_folder import RunFolder

SHAPES = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3), "fc6": (4096, 9216),
    "fc7": (1024, 4096),
}  # fmt: skip


def chunk(number, content):
    size = b""
    left = len(content)
    while left > 127:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([number << 3 | 2]) + size + bytes([left]) + content


def blob(shape, values):
    sides = (1,) * (4 - len(shape)) + shape
    head = b""
    for number, side in enumerate(sides, 1):
        low, high = side & 127 | 128, side >> 7
        head += bytes([number << 3, low, high & 127 | 128, high >> 7])
    return head + chunk(5, values.tobytes())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with a model of random weights in the old style, and a mean for it."""
    folder = tmp_path_factory.mktemp("published")
    random = np.random.default_rng(0)
    layers = b""
    for name, shape in SHAPES.items():
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weight = random.standard_normal(shape, np.float32) * scale
        blobs = blob(shape, weight), blob(shape[:1], np.ones(shape[0], np.float32))
        layers += chunk(2, chunk(4, name.encode()) + b"".join(chunk(6, b) for b in blobs))
    (folder / "color_model.caffemodel").write_bytes(layers)
    mean = np.broadcast_to(np.float32([104, 117, 123])[:, None, None], (3, 227, 227))
    (folder / "mean.binaryproto").write_bytes(blob((3, 227, 227), np.ascontiguousarray(mean)))
    return folder


def patch(seed):
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return encode_jpeg(np.kron(cells, np.ones((8, 8, 1), np.uint8)))


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """The current folder, with a trainlist.txt of 20 pairs and a patches.tar.gz, a plain tar."""
    monkeypatch.chdir(tmp_path)
    Path("trainlist.txt").write_text("".join(f"p/{i}.jpg {i // 2}\n" for i in range(40)))
    with tarfile.open("patches.tar.gz", "w") as tar:
        for i in range(40):
            member = tarfile.TarInfo(f"p/{i}.jpg")
            member.size = len(patch(i))
            tar.addfile(member, io.BytesIO(patch(i)))
    return tmp_path


def test_a_mean_is_shown_and_written(published, vr, refuses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = published / "mean.binaryproto"
    shown = vr("import", "mean", file)
    assert shown.code == 0
    assert "[104.0, 117.0, 123.0]" in shown.out
    told = vr("import", "mean", file, "--out", "mean.npy", "--json").json
    assert told == {
        "mean": str(file), "shape": [3, 227, 227], "means": [104.0, 117.0, 123.0],
        "min": 104.0, "max": 123.0, "out": "mean.npy",
    }  # fmt: skip
    assert np.load("mean.npy")[:, 5, 7].tolist() == [104, 117, 123]
    refuses(2, ["import", "mean", str(file), "--out", "mean.npy"], "mean.npy exists")
    assert vr("import", "mean", file, "--out", "mean.npy", "--overwrite").out == "mean.npy\n"
    refuses(1, ["import", "mean", str(tmp_path)], "no plain file")
    refuses(1, ["import", "mean", "gone"], "There is no file gone")


def test_a_list_trains_and_is_measured(listed, vr, refuses):
    done = vr("import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz", "--json")
    assert done.code == 0, done.err
    (shard,) = (listed / "patches").glob("*.tar")
    assert done.json == {
        "out": "patches", "list": "trainlist.txt", "pairs": 20, "labels": 20, "left_out": 0,
        "wrong_lines": 0, "problems": [], "damaged": [], "shards": [f"patches/{shard.name}"],
    }  # fmt: skip
    tiny = ("--steps", "2", "--size", "32", "--batch-pairs", "6", "--workers", "0")
    trained = vr("train", *tiny, "--name", "t", "--json")
    assert trained.code == 0, trained.err
    assert trained.json["train_pairs"] + trained.json["held_out_pairs"] == 20
    assert trained.json["held_out_pairs"] == 5
    assert vr("eval", "runs/t", "--json").json["pairs"] == 5
    refuses(2, ["import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz"], "--overwrite")


def test_wrong_lines_exit_3_and_are_named(listed, vr):
    text = Path("trainlist.txt").read_text().splitlines()
    text[3], text[10] = "p/none.jpg 1", "no label"
    Path("trainlist.txt").write_text("\n".join([*text, "p/0.jpg 77"]))
    spoken = vr("import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz")
    assert spoken.code == 3
    assert spoken.out == "patches\n"
    for words in ("trainlist.txt:4: p/none.jpg", "trainlist.txt:11: ", ":41: it has no partner"):
        assert words in spoken.err
    told = vr("import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz", "--overwrite",
              "--json")  # fmt: skip
    assert told.code == 3
    assert (told.json["pairs"], told.json["left_out"], told.json["wrong_lines"]) == (18, 3, 3)
    assert [problem["line"] for problem in told.json["problems"]] == [4, 11, 41]


def test_lists_that_cannot_be_used(listed, refuses):
    start = ["import", "trainlist"]
    Path("empty.txt").touch()
    root = ["--root", "patches.tar.gz"]
    refuses(1, [*start, "empty.txt", *root], "is empty")
    refuses(1, [*start, ".", *root], "no plain file")
    refuses(1, [*start, "gone.txt", *root], "not there")
    refuses(1, [*start, "trainlist.txt", "--root", "gone"], "no file or folder gone")
    refuses(1, [*start, "trainlist.txt", "--root", "trainlist.txt"], "no tar archive")
    refuses(1, [*start, "trainlist.txt", "--root", "."], "no pair that can be used", "line 1: p/0")
    refuses(1, [*start, "patches.tar.gz", *root], "no pair that can be used")


def test_a_model_becomes_a_run(published, listed, vr, refuses):
    file, mean = str(published / "color_model.caffemodel"), str(published / "mean.binaryproto")
    refuses(2, ["import", "caffe", file], "no mean was given", "--mean none")
    assert not Path("runs").exists()
    done = vr("import", "caffe", file, "--mean", mean, "--json")
    assert done.code == 0, done.err
    card = ModelCard.read(Path("runs/color_model"))
    assert done.json == {
        "run": "runs/color_model", "backbone": "alexnet", "dim": 1024, "channels": "bgr",
        "mean": "mean.binaryproto", "fingerprint": card.fingerprint, "ignored": [],
    }  # fmt: skip
    run = RunFolder.open(Path("runs/latest"))
    assert run.path == Path("runs/color_model")
    assert run.read_settings().recipe == "wang2015"
    refuses(2, ["import", "caffe", file, "--mean", mean], "exists", "--overwrite")
    refuses(2, ["import", "caffe", file, "--mean", mean, "--name", "../x"], "name of a run")
    with run.held():
        again = ["import", "caffe", file, "--mean", mean, "--overwrite"]
        refuses(1, again, "Another vr is writing the run runs/color_model")
    # It has seen no pair here: all of a folder are for measuring it.
    refuses(5, ["eval", "runs/color_model"], "no pairs of its own", "--patches")
    refuses(5, ["export", "runs/color_model"], "no pairs of its own", "--patches")
    refuses(2, ["train", "--resume"], "was imported", "--init")
    vr("import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz")
    assert len(held_out_pairs(run)) == 20
    assert not list(Path("runs").glob(".*color*"))


def test_models_that_do_not_fit(published, tmp_path, monkeypatch, refuses):
    monkeypatch.chdir(tmp_path)
    file, mean = published / "color_model.caffemodel", str(published / "mean.binaryproto")
    start = ["import", "caffe", str(file)]
    other = np.full((3, 256, 256), 110, np.float32)
    Path("other.binaryproto").write_bytes(blob((3, 256, 256), other))
    Path("cut.caffemodel").write_bytes(file.read_bytes()[:-1000])
    whole = file.read_bytes()
    fc6 = whole.index(b"\x22\x03fc6") - 5  # its tag and its size stand before its name
    Path("short.caffemodel").write_bytes(whole[:fc6])
    Path("net.prototxt").write_text('layer { name: "ip" type: "InnerProduct" bottom: "data" }')
    for code, arguments, words in (
        (5, [*start, "--mean", "other.binaryproto"], "is 3x256x256"),
        (1, [*start, "--mean", str(file)], "mean"),
        (1, [*start, "--mean", "1,2"], "There is no file 1,2"),
        (5, [*start, "--mean", "1,2,300"], "from 1 to 300"),
        (5, [*start, "--mean", mean, "--prototxt", "net.prototxt"], "conv1 is missing"),
        (1, [*start, "--mean", mean, "--prototxt", mean], "no prototxt"),
        (1, ["import", "caffe", "cut.caffemodel", "--mean", "none"], "no whole .caffemodel"),
        (5, ["import", "caffe", "short.caffemodel", "--mean", "none"], "fc6 is missing; fc7"),
        (1, ["import", "caffe", ".", "--mean", "none"], "no plain file"),
        (1, ["import", "caffe", mean, "--mean", "none"], "caffemodel"),
        (1, ["import", "caffe", "gone", "--mean", "none"], "There is no file gone"),
    ):
        refuses(code, arguments, words)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_an_imported_model_is_measured_exported_and_searched(published, listed, vr):
    file = published / "color_model.caffemodel"
    vr("import", "trainlist", "trainlist.txt", "--root", "patches.tar.gz", "--out", "elsewhere")
    assert vr("import", "caffe", file, "--mean", "104,117,123").code == 0
    measured = vr("eval", "runs/color_model", "--patches", "elsewhere", "--json")
    assert measured.code == 0, measured.err
    assert measured.json["pairs"] == 20
    exported = vr("export", "--patches", "elsewhere", "--json")
    assert exported.code == 0, exported.err
    assert exported.json["parity"]["passed"]
    assert vr("index", "build", "elsewhere", "--json").json["vectors"] == 40
    Path("query.jpg").write_bytes(patch(6))
    hit = vr("search", "query.jpg", "--json").json["hits"][0]
    assert hit["score"] > 0.999
    assert hit["track"].endswith("-3")
    assert vr("eval", "exported", "--patches", "elsewhere", "--json").json["pairs"] == 20
