"""`vr embed`: pictures to vectors."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from deploy.runtimes import open_embedder
from toolkit.embedding import embed_images
from toolkit.images import crop_patch, read_image
from toolkit.records import Box


@pytest.fixture
def pictures(workspace: Path) -> Path:
    """A folder of three pictures, one of which is none."""
    folder = workspace / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        shutil.copy("image.jpg", folder / name)
    (folder / "b.jpg").write_bytes(b"no picture")
    return folder


def vector_of(image, box=None):
    """What the library makes of a picture, by the plain way of opening."""
    picture = read_image(Path(image))
    embedder = open_embedder(Path("exported"), "onnx", "cpu")
    return embed_images(embedder, [crop_patch(picture, box) if box else picture])[0]


def test_one_picture_goes_to_the_standard_output(vr, workspace):
    found = vr("embed", "image.jpg")
    assert found.code == 0, found.err
    np.testing.assert_allclose(json.loads(found.out), vector_of("image.jpg"), atol=2e-6)
    assert "runtime: onnxruntime cpu" in found.err
    told = vr("embed", "image.jpg", "--json").json
    assert told["vector"] == json.loads(found.out)
    card = json.loads(Path("exported/model.json").read_text())
    assert (told["dim"], told["fingerprint"]) == (len(told["vector"]), card["fingerprint"])
    assert (told["picture"], told["runtime"]) == ("image.jpg", "onnxruntime cpu")


def test_a_region_of_a_picture(vr, workspace):
    box = Box(10, 20, 60, 50)
    found = vr("embed", "image.jpg", "--box", "10,20,60,50", "--json").json["vector"]
    np.testing.assert_allclose(found, vector_of("image.jpg", box), atol=2e-6)
    whole = vr("embed", "image.jpg", "--json").json["vector"]
    assert np.abs(np.array(found) - whole).max() > 1e-3
    assert vr("embed", "image.jpg", "--box", "10,20,60,50", "--out", "v.npy").code == 0
    np.testing.assert_allclose(np.load("v.npy")[0], found, atol=2e-6)


def test_many_pictures_go_to_a_file(vr, pictures):
    found = vr("embed", "image.jpg", pictures, "--out", "v.npy", "--json")
    assert found.code == 3
    assert "set aside" in found.err
    told = found.json
    assert (told["out"], told["names"], told["vectors"]) == ("v.npy", "v.npy.json", 3)
    assert [item["picture"] for item in told["quarantined"]] == [str(pictures / "b.jpg")]
    vectors = np.load("v.npy")
    np.testing.assert_allclose(vectors, np.tile(vector_of("image.jpg"), (3, 1)), atol=2e-6)
    names = json.loads(Path("v.npy.json").read_text())
    assert names["pictures"] == ["image.jpg", str(pictures / "a.jpg"), str(pictures / "c.jpg")]
    assert names["sha256"] == sha256(Path("v.npy").read_bytes()).hexdigest()
    assert names["fingerprint"] == told["fingerprint"]


def test_people_are_told_the_file_and_how_many(vr, pictures):
    (pictures / "b.jpg").unlink()
    found = vr("embed", pictures, "--out", "v.safetensors")
    assert (found.code, found.out) == (0, "v.safetensors\n")
    assert "2 vectors" in found.err
    assert "onnxruntime cpu" in found.err
    assert load_file("v.safetensors")["embeddings"].shape[0] == 2


def test_a_run_is_embedded_with_torch(vr, workspace):
    by_torch = vr("embed", "image.jpg", "--model", "runs/latest", "--device", "cpu", "--json").json
    by_onnx = vr("embed", "image.jpg", "--json").json
    assert by_torch["runtime"] == "torch cpu"
    assert by_torch["fingerprint"] == by_onnx["fingerprint"]
    np.testing.assert_allclose(by_torch["vector"], by_onnx["vector"], atol=1e-5)


def test_what_cannot_be_done(refuses, pictures):
    refuses(2, ["embed", "pictures"], "3 pictures", "--out vectors.npy")
    refuses(2, ["embed", "pictures", "--out", "v.csv"], "v.csv", ".safetensors")
    refuses(2, ["embed", "pictures", "--box", "0,0,5,5", "--out", "v.npy"], "--box", "3")
    refuses(2, ["embed", "image.jpg", "--box", "9999,0,99999,5"], "outside")
    refuses(2, ["embed", "image.jpg", "--runtime", "torch"], "opens runs")
    refuses(2, ["embed", "image.jpg", "--threads", "0"], "--threads")
    refuses(1, ["embed", "nothing.jpg"], "nothing.jpg")
    refuses(1, ["embed", "pictures/b.jpg"], "not an image")
    refuses(1, ["embed", "pictures/b.jpg", "--out", "v.npy"], "No picture can be read")
    refuses(1, ["embed", "image.jpg", "--model", "nowhere"], "no bundle")
    refuses(6, ["embed", "image.jpg", "--runtime", "tensorrt"], "TensorRT")
    Path("empty").mkdir()
    refuses(1, ["embed", "empty"], "no picture", "empty")
    assert list(Path().glob("v.*")) == []
