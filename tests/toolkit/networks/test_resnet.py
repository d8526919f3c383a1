"""The residual networks against the paper's counts and transformers' own implementation."""

import pytest
import torch

from toolkit.networks.backbones import backbone_defaults, build_backbone

# 1000 classes, as published: 11.7, 21.8 and 25.6 million weights; tensors in a state dict
PUBLISHED = {"resnet18": (11_689_512, 122), "resnet34": (21_797_672, 218),
             "resnet50": (25_557_032, 320)}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_resnet_has_the_published_number_of_weights(name):
    with torch.device("meta"):
        network = build_backbone(name, dim=1000, height=224, width=224)
    count = sum(weight.numel() for weight in network.parameters())
    assert (count, len(network.state_dict())) == PUBLISHED[name]


def test_resnet_names_its_weights_as_published():
    with torch.device("meta"):
        names = build_backbone("resnet50", dim=8, height=224, width=224).state_dict()
    expected = {"conv1.weight": (64, 3, 7, 7), "bn1.running_var": (64,),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer2.0.conv2.weight": (128, 128, 3, 3), "layer3.5.bn3.bias": (1024,),
                "layer4.0.downsample.1.running_mean": (2048,),
                "layer4.2.conv3.weight": (2048, 512, 1, 1), "fc.weight": (8, 2048)}  # fmt: skip
    assert {name: tuple(names[name].shape) for name in expected} == expected
    assert "layer2.1.downsample.0.weight" not in names


def others_names(name):
    """The name that transformers has for one of ours; None for the head."""
    if name.startswith("fc."):
        return None
    part, rest = name.split(".", 1)
    layer = rest.rsplit(".", 1)[-1]
    if part in ("conv1", "bn1"):
        kind = "convolution" if part == "conv1" else "normalization"
        return f"embedder.embedder.{kind}.{layer}"
    block, inner = rest.split(".", 1)
    start = f"encoder.stages.{int(part[5:]) - 1}.layers.{block}"
    which, layer = inner.rsplit(".", 1)
    if which.startswith("downsample"):
        kind = "convolution" if which.endswith("0") else "normalization"
        return f"{start}.shortcut.{kind}.{layer}"
    kind = "convolution" if which.startswith("conv") else "normalization"
    return f"{start}.layer.{int(which[-1]) - 1}.{kind}.{layer}"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("resnet18", {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2],
                      "layer_type": "basic"}),
        ("resnet50", {}),
    ],
)  # fmt: skip
def test_resnet_computes_what_transformers_computes(name, config):
    import transformers

    torch.manual_seed(0)
    other = transformers.ResNetModel(transformers.ResNetConfig(**config)).eval()
    for key, buffer in other.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    ours = build_backbone(name, dim=8, height=96, width=96).eval()
    theirs = other.state_dict()
    state = {own: theirs.pop(others_names(own), t) for own, t in ours.state_dict().items()}
    assert not theirs  # every weight of theirs has its place
    ours.load_state_dict(state)
    x = torch.randn(2, 3, 70, 96)
    with torch.no_grad():
        expected = ours.fc(other(x).pooler_output.flatten(1))
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)


def test_resnet_takes_the_statistics_of_published_weights():
    defaults = backbone_defaults("resnet18")
    assert defaults.mean == (0.485, 0.456, 0.406)
    assert defaults.deviation == (0.229, 0.224, 0.225)
    assert (defaults.preprocessing.height, defaults.preprocessing.channels) == (224, "rgb")
