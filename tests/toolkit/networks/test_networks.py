"""The networks against the published shapes, and preprocessing against plain NumPy."""

import cv2
import numpy as np
import pytest
import torch

from toolkit.errors import MismatchError, UsageError
from toolkit.networks.alexnet import AlexNet
from toolkit.networks.backbones import backbone_defaults, backbone_names
from toolkit.networks.embedder import EmbeddingNetwork, InputLayer
from toolkit.networks.saved import WEIGHTS_NAME, load_model, save_model
from toolkit.networks.small import ColorHistogram
from toolkit.preprocess import Preprocessing

# layer: (shape of the weight, standard deviation, bias) of the published prototxt
PUBLISHED = {
    "conv1": ((96, 3, 11, 11), 0.01, 0),
    "conv2": ((256, 48, 5, 5), 0.01, 1),
    "conv3": ((384, 256, 3, 3), 0.01, 0),
    "conv4": ((384, 192, 3, 3), 0.01, 1),
    "conv5": ((256, 192, 3, 3), 0.01, 1),
    "fc6": ((4096, 9216), 0.005, 1),
    "fc7": ((1024, 4096), 0.005, 1),
}


def small_network(**changes):
    torch.manual_seed(0)
    return EmbeddingNetwork("small", Preprocessing(32, 32, **changes), 16).eval()


def images(count, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def test_alexnet_has_the_published_shapes_and_initialisation():
    torch.manual_seed(0)
    network = AlexNet(1024, 227, 227)
    for name, (shape, deviation, bias) in PUBLISHED.items():
        layer = getattr(network, name)
        assert tuple(layer.weight.shape) == shape
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert layer.bias.eq(bias).all()


def test_local_response_normalisation_is_that_of_the_formula():
    layer = AlexNet(8, 67, 67).norm
    x = torch.randn(2, 12, 3, 3, generator=torch.Generator().manual_seed(0)) * 40
    expected = np.empty(x.shape)
    for c in range(12):
        window = x[:, max(0, c - 2) : c + 3].double().numpy()
        expected[:, c] = x[:, c].numpy() / (1 + 1e-4 / 5 * (window**2).sum(1)) ** 0.75
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("size", "side"), [(227, 6), (67, 1), (131, 3), (99, 2)])
def test_alexnet_sizes_its_first_full_layer_by_the_input(size, side):
    network = AlexNet(8, size, size)
    assert network.fc6.in_features == 256 * side * side
    with torch.no_grad():
        assert network(torch.zeros(1, 3, size, size)).shape == (1, 8)


def test_alexnet_refuses_an_input_that_vanishes():
    with pytest.raises(UsageError, match="50x50"):
        AlexNet(8, 50, 50)


def test_the_color_histogram_counts_what_a_hard_one_counts():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 4, (2, 8, 8, 3))  # every pixel in the middle of a bin
    blocks = bins.repeat(2, axis=1).repeat(2, axis=2)  # the layer halves the picture first
    x = torch.from_numpy(blocks - 1.5).float().permute(0, 3, 1, 2)
    codes = bins[..., 0] * 16 + bins[..., 1] * 4 + bins[..., 2]
    expected = [np.bincount(c.ravel(), minlength=64) / 64 for c in codes]
    given = ColorHistogram()(x).square() - 1e-4
    np.testing.assert_allclose(given.numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("name", backbone_names())
def test_every_backbone_gives_rows_of_length_one(name):
    defaults = backbone_defaults(name)
    network = EmbeddingNetwork(
        name, defaults.preprocessing, defaults.dim, mean_image=defaults.mean_image
    ).eval()
    size = defaults.preprocessing.height
    with torch.no_grad():
        rows = network(torch.from_numpy(images(2, size)))
    assert rows.shape == (2, defaults.dim)
    np.testing.assert_allclose(rows.norm(dim=1).numpy(), 1, atol=1e-4)


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean alexnet"):
        EmbeddingNetwork("alexnett", Preprocessing(32, 32), 8)


@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_preprocessing_equals_plain_numpy(channels):
    layer = InputLayer(Preprocessing(32, 32, channels, 0.5))
    layer.mean.copy_(torch.tensor([3.0, 5.0, 7.0]).view(3, 1, 1))
    layer.deviation.copy_(torch.tensor([2.0, 4.0, 8.0]).view(3, 1, 1))
    batch = images(3)
    if channels == "bgr":
        ordered = batch[..., ::-1].astype(np.float64)
    elif channels == "gray":
        gray = np.stack([cv2.cvtColor(im.astype(np.float32), cv2.COLOR_RGB2GRAY) for im in batch])
        ordered = np.repeat(gray[..., None], 3, axis=-1)
    else:
        ordered = batch.astype(np.float64)
    expected = (ordered * 0.5 - [3, 5, 7]) / [2, 4, 8]
    given = layer(torch.from_numpy(batch)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_a_saved_model_loads_to_the_same_embeddings(tmp_path):
    network = small_network(channels="bgr")
    card = save_model(network, tmp_path, {"run": "r"})
    loaded, read = load_model(tmp_path)
    assert read == card
    batch = torch.from_numpy(images(4))
    with torch.no_grad():
        assert torch.equal(network(batch), loaded(batch))


def test_the_fingerprint_follows_weights_and_preprocessing_only(tmp_path):
    first = save_model(small_network(), tmp_path / "a", {"run": "a"})
    same = save_model(small_network(), tmp_path / "b", {"run": "b"})
    other_input = save_model(small_network(channels="bgr"), tmp_path / "c", {})
    changed = small_network()
    with torch.no_grad():
        changed.backbone.head.bias[0] += 1e-6
    other_weights = save_model(changed, tmp_path / "d", {})
    assert first.fingerprint == same.fingerprint
    assert len({c.fingerprint for c in (first, other_input, other_weights)}) == 3


def test_swapped_weights_are_refused(tmp_path):
    save_model(small_network(), tmp_path / "a", {})
    save_model(small_network(channels="bgr"), tmp_path / "b", {})
    other = EmbeddingNetwork("small", Preprocessing(32, 32), 16)
    save_model(other, tmp_path / "c", {})
    (tmp_path / "a" / WEIGHTS_NAME).write_bytes((tmp_path / "c" / WEIGHTS_NAME).read_bytes())
    with pytest.raises(MismatchError, match="does not hold the weights"):
        load_model(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_damaged_weights_are_refused(tmp_path, content):
    save_model(small_network(), tmp_path, {})
    (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(MismatchError, match="no readable weights"):
        load_model(tmp_path)
