"""One pass over a picture against the network itself, window by window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import toolkit.networks.dense
from toolkit.errors import UsageError
from toolkit.networks.alexnet import AlexNet
from toolkit.networks.backbones import find_backbone
from toolkit.networks.dense import DenseNetwork, default_stride, flat_network, make_dense
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.resnet import ResNet
from toolkit.networks.small import SmallNetwork
from toolkit.preprocess import Preprocessing


def make(backbone: str, height: int, width: int | None = None) -> EmbeddingNetwork:
    """A network whose embeddings differ from picture to picture, as after training."""
    torch.manual_seed(3)
    network = EmbeddingNetwork(backbone, Preprocessing(height, width or height), dim=12).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
        if isinstance(layer, nn.Conv2d | nn.Linear) and backbone == "alexnet":
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


def pictures(count: int, height: int, width: int) -> Tensor:
    """Smooth and rough parts, bright and dark."""
    rng = np.random.default_rng(height + width)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, height // 8 + 1, width // 8 + 1)))
    image = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    image += torch.from_numpy(rng.normal(0, 20, image.shape))
    return image.clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def run(network: nn.Module, images: Tensor) -> Any:
    with torch.inference_mode():
        return network(images).numpy()


SIZES = [
    ("small", 32, 32),
    ("small", 37, 51),  # odd: features lie beyond the window's end
    ("alexnet", 67, 67),
    ("alexnet", 96, 70),  # poolings that are rounded up
    ("resnet18", 64, 64),
    ("resnet18", 75, 33),
    pytest.param("alexnet", 227, 227, marks=pytest.mark.slow),
    pytest.param("resnet50", 64, 64, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("backbone", "height", "width"), SIZES)
def test_a_picture_of_one_window_is_the_network_itself(
    backbone: str, height: int, width: int
) -> None:
    network = make(backbone, height, width)
    images = pictures(4, height, width)
    found, wanted = run(make_dense(network), images), run(network, images)
    assert found.shape == (4, 1, 1, 12)
    np.testing.assert_allclose(found[:, 0, 0], wanted, atol=2e-6)
    assert (wanted @ wanted.T)[0, 1:].max() < 0.999  # pictures are told apart


def naive_alexnet(backbone: AlexNet, cut: Tensor, at: tuple[int, int], size: Any) -> Tensor:
    """One window, `at` (row, column) strides of 32 into a cut of a picture."""
    cells = AlexNet(1, *size).fc6.in_features // 256
    rows = {1: 1, 2: 2, 4: 2}[cells]
    pool5 = backbone.features(cut)[:, :, at[0] : at[0] + rows, at[1] : at[1] + cells // rows]
    return torch.relu(backbone.fc7(torch.relu(backbone.fc6(pool5.flatten(1)))))


def naive_small(backbone: SmallNetwork, cut: Tensor, at: tuple[int, int], size: Any) -> Tensor:
    y, x = 16 * at[0], 16 * at[1]
    means = [backbone.colors(cut[:, :, y : y + size[0], x : x + size[1]])]
    for level, stride in zip(backbone.levels(cut), (2, 2, 4, 8, 16), strict=True):
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        part = level[:, :, y // stride :, x // stride :][:, :, :rows, :columns]
        means.append(part.mean((2, 3)))
    embedding: Tensor = backbone.head(backbone.norm(torch.cat(means, 1)))
    return embedding


def naive_resnet(backbone: ResNet, cut: Tensor, at: tuple[int, int], size: Any) -> Tensor:
    rows, columns = -(-size[0] // 32), -(-size[1] // 32)
    part = backbone.features(cut)[:, :, at[0] : at[0] + rows, at[1] : at[1] + columns]
    embedding: Tensor = backbone.fc(part.mean((2, 3)))
    return embedding


NAIVE: dict[str, Callable[..., Tensor]] = {
    "alexnet": naive_alexnet,
    "small": naive_small,
    "resnet18": naive_resnet,
}


@pytest.mark.parametrize(("backbone", "height", "width"), SIZES[:6])
def test_every_window_equals_its_crop_with_the_context_that_it_sees(
    backbone: str, height: int, width: int
) -> None:
    """The oracle cuts each window with its margin and runs the plain layers, one by one."""
    network = make(backbone, height, width)
    dense = make_dense(network)
    stride, around = dense.grid.stride, -(-dense.grid.margin // dense.grid.stride)
    last = 2 * around + 2  # the windows in the middle see neither end of the picture
    image = pictures(1, height + 2 * stride + 5, width + last * stride + 3)
    found = run(dense, image)[0]
    assert found.shape == (3, last + 1, 12)
    whole = height + 2 * stride, width + last * stride
    for row in range(3):
        for column in (0, 1, around + 1, last):
            top, left = max(0, row - around), max(0, column - around)
            bottom = min(whole[0], (row + around) * stride + height)
            right = min(whole[1], (column + around) * stride + width)
            with torch.inference_mode():
                cut = network.preprocess(image[:, top * stride : bottom, left * stride : right])
                at = row - top, column - left
                features = NAIVE[backbone](network.backbone, cut, at, (height, width))
            wanted = (features / features.norm()).numpy()[0]
            np.testing.assert_allclose(found[row, column], wanted, atol=5e-6)


@pytest.mark.parametrize("backbone", ["small", "alexnet", "resnet18"])
def test_the_margin_is_how_far_an_embedding_sees(backbone: str) -> None:
    """By its gradient: nothing beyond the margin counts, and its last pixel does."""
    size = {"small": 32, "alexnet": 67, "resnet18": 32}[backbone]
    network = make(backbone, size)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):  # no unit is off, and no two paths cancel out
            layer.weight.data.abs_()
            nn.init.ones_(layer.bias) if layer.bias is not None else None
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            nn.init.ones_(layer.weight)
            nn.init.ones_(layer.bias)
    dense = make_dense(network)
    grid = dense.grid
    place = -(-grid.margin // grid.stride) + 1
    side = size + 2 * place * grid.stride
    pixels = torch.rand((1, 3, side, side), requires_grad=True)
    dense.backbone(pixels)[0, :, place, place].sum().backward()
    assert pixels.grad is not None
    rows = pixels.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    start = place * grid.stride
    before, after = start - int(rows.min()), int(rows.max()) - (start + size - 1)
    assert max(before, after) == grid.margin or backbone == "alexnet"  # max-pools pick others
    assert max(before, after) <= grid.margin


def test_what_lies_wholly_inside_a_window_is_as_in_its_crop() -> None:
    """pool5 of 227 pixels: the middle 2x2 of 6x6 cells see nothing outside, the others do."""
    backbone = make("alexnet", 227).backbone
    assert isinstance(backbone, AlexNet)
    image = torch.rand((1, 3, 227 + 128, 227 + 128)) - 0.5
    with torch.inference_mode():
        whole = backbone.features(image)[:, :, 2:8, 2:8]
        alone = backbone.features(image[:, :, 64 : 64 + 227, 64 : 64 + 227])
    same = torch.isclose(whole, alone, atol=1e-5).all(1)[0]
    assert same[2:4, 2:4].all()
    same[2:4, 2:4] = False
    assert not same.any()


def test_a_coarser_stride_takes_some_of_the_windows() -> None:
    network = make("alexnet", 67)
    image = pictures(2, 67 + 192, 67 + 96)  # whole windows for both
    fine, coarse = (run(make_dense(network, stride), image) for stride in (32, 96))
    np.testing.assert_allclose(coarse, fine[:, ::3, ::3], atol=1e-6)


def test_what_is_left_over_at_the_end_is_not_seen() -> None:
    dense = make_dense(make("small", 32))
    image = pictures(1, 32 + 16 + 15, 32 + 16 * 2 + 7)
    other = image.clone()
    other[:, 48:] = 0
    other[:, :, 64:] = 255
    np.testing.assert_array_equal(run(dense, image), run(dense, other))
    assert run(dense, image).shape == (1, 2, 3, 12)


def test_a_mean_image_becomes_its_mean() -> None:
    spec = Preprocessing(67, 67, "bgr", 1.0)
    network = EmbeddingNetwork("alexnet", spec, 8, mean_image=True).eval()
    nn.init.uniform_(network.preprocess.mean, 90, 130)
    flat = make_dense(network).preprocess.mean
    wanted = network.preprocess.mean.double().mean((1, 2)).float()
    np.testing.assert_allclose(flat.numpy(), wanted.numpy()[:, None, None], rtol=1e-6)


def test_weights_are_shared() -> None:
    network = make("alexnet", 67)
    dense: DenseNetwork = make_dense(network)
    own = {t.untyped_storage().data_ptr() for t in network.parameters()}
    assert {t.untyped_storage().data_ptr() for t in dense.parameters()} <= own


@pytest.mark.parametrize("stride", [0, -32, 16, 33, 48])
def test_another_stride_is_a_usage_error(stride: int) -> None:
    with pytest.raises(UsageError, match="alexnet") as caught:
        make_dense(make("alexnet", 67), stride)
    assert "32" in caught.value.mend


def test_another_backbone_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = find_backbone("small")
    without = type(plain)(plain.defaults, plain.build)
    monkeypatch.setattr(toolkit.networks.dense, "find_backbone", lambda *_: without)
    with pytest.raises(UsageError, match="larger pictures"):
        make_dense(make("small", 32))


@pytest.mark.parametrize(
    ("own", "window", "wanted"), [(32, 227, 32), (16, 64, 16), (16, 32, 16), (16, 227, 48)]
)
def test_default_stride(own: int, window: int, wanted: int) -> None:
    assert default_stride(own, window) == wanted


def test_one_window_is_the_network_with_its_mean_image_flattened() -> None:
    spec = Preprocessing(67, 67, "bgr", 1.0)
    network = EmbeddingNetwork("alexnet", spec, 8, mean_image=True).eval()
    nn.init.uniform_(network.preprocess.mean, 60, 160)
    images = pictures(3, 67, 67)
    flat = flat_network(network)
    before = run(network, images)
    np.testing.assert_allclose(
        run(make_dense(network), images)[:, 0, 0], run(flat, images), atol=2e-6
    )
    assert (network.preprocess.has_mean_image, flat.preprocess.has_mean_image) == (True, False)
    assert np.abs(run(flat, images) - before).max() > 1e-4
    np.testing.assert_array_equal(run(network, images), before)  # it was not changed
