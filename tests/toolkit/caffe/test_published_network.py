"""The imported network beside OpenCV's Caffe engine, on random weights and pictures."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from toolkit.caffe.import_model import build_network
from toolkit.caffe.model_file import read_caffemodel
from toolkit.caffe.weights import match_weights

PICTURES = np.random.default_rng(1).integers(0, 256, (2, 227, 227, 3), np.uint8)
MEAN = np.random.default_rng(2).uniform(80, 140, (3, 227, 227)).astype(np.float32)


def engine(path: Path, prototxt: str) -> Any:
    return cv2.dnn.readNetFromCaffe(np.frombuffer(prototxt.encode(), np.uint8), read(path))


def read(path: Path) -> Any:
    return np.frombuffer(path.read_bytes(), np.uint8)


def fc7(net: Any, planes: Any) -> Any:
    rows = []
    for picture in planes:  # one by one: the description has a batch of 1
        net.setInput(picture[None].astype(np.float32))
        rows.append(net.forward().copy())
    return np.concatenate(rows)


def unit(rows: Any) -> Any:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)


def bgr_planes(pictures: Any) -> Any:
    return pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def gray_planes(pictures: Any) -> Any:
    gray = pictures @ np.array([0.299, 0.587, 0.114])
    return np.repeat(gray[:, None], 3, axis=1).astype(np.float32)


def test_color_and_gray_embeddings_are_those_of_opencv(caffe, published):
    path, _ = published
    net = engine(path, caffe.prototxt("old"))
    weights = match_weights(read_caffemodel(path), "color")
    pictures = torch.from_numpy(PICTURES)
    for channels, planes in (("bgr", bgr_planes), ("gray", gray_planes)):
        network = build_network(weights, MEAN, channels)
        with torch.inference_mode():
            ours = network(pictures).numpy()
            features = network.backbone(network.preprocess(pictures)).numpy()
        theirs = fc7(net, planes(PICTURES) - MEAN)
        assert np.abs(ours - unit(theirs)).max() < 1e-4
        assert np.abs(features - theirs).max() < 1e-4 * np.abs(theirs).max()
        assert (theirs > 0).mean() > 0.2  # there is something to compare
        assert np.abs(unit(theirs)[0] - unit(theirs)[1]).max() > 1e-3


def test_pooling_rounds_up_as_in_caffe(caffe, published):
    # At 227 px every pooling comes out even; at 224 the first one does not.
    from toolkit.networks.alexnet import AlexNet

    path, truth = published
    network = AlexNet(1024, 224, 224)
    network.load_state_dict(
        {
            f"{name}.{part}": torch.from_numpy(array)
            for name, arrays in truth.items()
            for part, array in zip(("weight", "bias"), arrays, strict=True)
        }
    )
    planes = bgr_planes(PICTURES[:, :224, :224]) - 110
    theirs = fc7(engine(path, caffe.prototxt("old", 224)), planes)
    with torch.inference_mode():
        ours = network.eval()(torch.from_numpy(planes)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_every_weight_arrives_unchanged(published):
    path, truth = published
    tensors = match_weights(read_caffemodel(path), "color").tensors
    assert set(tensors) == {f"{name}.{part}" for name in truth for part in ("weight", "bias")}
    for name, (weight, bias) in truth.items():
        assert np.array_equal(tensors[f"{name}.weight"], weight)
        assert np.array_equal(tensors[f"{name}.bias"], bias)


@pytest.mark.slow
def test_the_new_spelling_gives_the_same_network(caffe, published):
    weights = published[1]
    other = caffe.write("new.caffemodel", caffe.model(weights, "new"))
    theirs = fc7(engine(other, caffe.prototxt("new")), bgr_planes(PICTURES[:1]) - MEAN)
    network = build_network(match_weights(read_caffemodel(other), "new"), MEAN, "bgr")
    with torch.inference_mode():
        ours = network(torch.from_numpy(PICTURES[:1])).numpy()
    assert np.abs(ours - unit(theirs)).max() < 1e-4
