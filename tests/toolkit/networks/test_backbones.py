"""The registry: names, families, and a backbone that is one new module."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

import toolkit.networks.backbones as registry
from toolkit.errors import MissingError, UsageError
from toolkit.networks.backbones import (
    Backbone,
    BackboneDefaults,
    backbone_defaults,
    backbone_names,
    family_prefixes,
)
from toolkit.networks.embedder import EmbeddingNetwork, InputLayer
from toolkit.networks.initial import load_initial
from toolkit.preprocess import Preprocessing


def test_the_names_are_those_of_the_modules():
    assert backbone_names() == ["alexnet", "resnet18", "resnet34", "resnet50", "small"]
    assert family_prefixes() == ["hf", "timm"]


@pytest.mark.parametrize("name", ["", "hf:", ":x", "nohub:x", "Small", "resnet"])
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(UsageError, match=r"alexnet, resnet18.*hf:NAME, timm:NAME"):
        backbone_defaults(name)


def test_one_new_module_is_a_new_backbone(tmp_path, monkeypatch):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n"
        "from toolkit.networks.backbones import Backbone, BackboneDefaults\n"
        "from toolkit.preprocess import Preprocessing\n"
        "def build(*, dim, height, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, dim))\n"
        "BACKBONES = {'flat': Backbone(BackboneDefaults(Preprocessing(16, 16), 5), build, '1')}\n"
    )
    path = [*registry.toolkit.networks.__path__, str(tmp_path)]
    monkeypatch.setattr(registry.toolkit.networks, "__path__", path)
    registry._registry.cache_clear()
    try:
        assert "flat" in backbone_names()
        network = EmbeddingNetwork("flat", backbone_defaults("flat").preprocessing, 5)
        assert network(torch.zeros(2, 16, 16, 3, dtype=torch.uint8)).shape == (2, 5)
    finally:
        registry._registry.cache_clear()
        sys.modules.pop("toolkit.networks.flat", None)


STATISTICS = BackboneDefaults(
    Preprocessing(16, 16), 8, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.25, 0.125)
)


@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_published_statistics_follow_the_channels(channels):
    layer = InputLayer(Preprocessing(16, 16, channels), defaults=STATISTICS)
    picture = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    pixels = picture.astype(np.float64) / 255
    if channels == "gray":
        luma = pixels @ [0.299, 0.587, 0.114]
        pixels = np.stack([luma] * 3, -1)
    expected = (pixels - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.125]
    if channels == "bgr":
        expected = expected[..., ::-1]
    given = layer(torch.from_numpy(picture)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_a_mean_image_takes_the_place_of_published_statistics():
    layer = InputLayer(Preprocessing(16, 16), mean_image=True, defaults=STATISTICS)
    assert layer.mean.shape == (3, 16, 16)
    assert layer.deviation.eq(1).all()


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_train_in_bfloat16_and_channels_last(name, trains_in_bfloat16):
    trains_in_bfloat16(name)


# --- timm: it cannot be imported everywhere, so a stand-in of its documented interface -----


class StandIn(types.ModuleType):
    """What is used of timm 1: is_model, list_models, get_pretrained_cfg, create_model."""

    __version__ = "1.0"

    def __init__(self, *, fixed: bool = False) -> None:
        super().__init__("timm")
        self.fixed = fixed
        self.asked: list[dict[str, object]] = []

    def is_model(self, name):
        return name in ("tiny", "tiny.in1k")

    def list_models(self, pattern):
        return ["tiny"] if "tin" in pattern else []

    def get_pretrained_cfg(self, name):
        return types.SimpleNamespace(
            input_size=(3, 32, 40), mean=(0.5, 0.4, 0.3), std=(0.3, 0.2, 0.1),
            fixed_input_size=self.fixed,
        )  # fmt: skip

    def create_model(self, name, **options):
        self.asked.append({"name": name, **options})
        if options["pretrained"] and name == "tiny":
            raise RuntimeError("nothing is published for it")
        body = nn.Sequential(nn.Conv2d(3, 6, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if options["pretrained"]:
            nn.init.constant_(body[0].weight, 0.25)
        return body


@pytest.fixture
def timm(monkeypatch):
    module = StandIn()
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_timm_gives_a_backbone_its_size_and_statistics(timm):
    defaults = backbone_defaults("timm:tiny")
    assert (defaults.preprocessing.height, defaults.preprocessing.width) == (32, 40)
    assert (defaults.mean, defaults.deviation) == ((0.5, 0.4, 0.3), (0.3, 0.2, 0.1))
    network = EmbeddingNetwork("timm:tiny", defaults.preprocessing, 8)
    assert network(torch.zeros(2, 32, 40, 3, dtype=torch.uint8)).shape == (2, 8)
    assert timm.asked == [{"name": "tiny", "num_classes": 0, "pretrained": False}]


def test_timm_is_told_another_size_only_where_it_is_fixed(timm):
    EmbeddingNetwork("timm:tiny", Preprocessing(64, 64), 8)
    timm.fixed = True
    EmbeddingNetwork("timm:tiny", Preprocessing(64, 64), 8)
    assert [asked.get("img_size") for asked in timm.asked] == [None, (64, 64)]


def test_timm_trains_in_bfloat16_and_channels_last(timm, trains_in_bfloat16):
    trains_in_bfloat16("timm:tiny")


def test_timm_is_refused_for_an_unknown_network(timm):
    with pytest.raises(UsageError, match=r"no network 'tina'.*Near: tiny"):
        backbone_defaults("timm:tina")


def test_timm_gives_its_published_weights_by_the_name_of_the_backbone(timm):
    network = EmbeddingNetwork("timm:tiny.in1k", Preprocessing(32, 40), 8)
    initial = load_initial(network, "tiny.in1k")
    assert network.backbone.body[0].weight.eq(0.25).all()
    assert initial.fresh == ("backbone.head.weight", "backbone.head.bias")
    with pytest.raises(UsageError, match=r"Use --init tiny\.in1k"):
        load_initial(network, "tiny")
    with pytest.raises(UsageError, match="nothing is published"):
        load_initial(EmbeddingNetwork("timm:tiny", Preprocessing(32, 40), 8), "tiny")


def test_timm_takes_a_file_under_its_own_names(timm, tmp_path):
    weight = torch.randn(6, 3, 4, 4)
    torch.save({"0.weight": weight, "0.bias": torch.ones(6)}, tmp_path / "w.pth")
    network = EmbeddingNetwork("timm:tiny", Preprocessing(32, 40), 8)
    load_initial(network, str(tmp_path / "w.pth"))
    assert torch.equal(network.backbone.body[0].weight, weight)


def test_timm_that_is_missing_names_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    with pytest.raises(MissingError, match=r"pip install 'vr-toolkit\[timm\]'") as caught:
        backbone_defaults("timm:resnet18")
    assert caught.value.exit_code == 6


def test_timm_whose_torchvision_does_not_fit_is_missing_too(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("toolkit.optional.importlib.import_module", broken)
    with pytest.raises(MissingError, match="torchvision::nms"):
        backbone_defaults("timm:resnet18")


def test_the_default_head_of_a_backbone_is_a_layer_of_it():
    for name in backbone_names():
        found: Backbone = registry.find_backbone(name)
        body = found.build(dim=7, height=96, width=96)
        assert getattr(body, found.head).out_features == 7
