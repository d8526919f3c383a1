"""The residual networks of He et al. (CVPR 2016): 18, 34 and 50 layers.

The names of the weights are those under which they are commonly published. As there, the
bottleneck block strides in its 3x3 convolution, not in its first 1x1 as the paper has it.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from toolkit.networks.backbones import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    Backbone,
    BackboneDefaults,
    Dense,
)
from toolkit.networks.dense_resnet import STRIDE, DenseResNet
from toolkit.preprocess import Preprocessing

_WIDTHS = (64, 128, 256, 512)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """A projection where the shapes differ (the paper's option B), else none."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (paper, figure 5, left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (paper, figure 5, right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, 4 * width, H / stride, W / stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """float [B, 3, H, W] of any size to float [B, dim]: four stages, mean pooling, one layer."""

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], dim: int
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(3, _WIDTHS[0], 7, 2)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = _WIDTHS[0]
        for number, (width, depth) in enumerate(zip(_WIDTHS, depths, strict=True), 1):
            blocks: list[nn.Module] = []
            for place in range(depth):
                blocks.append(block(inputs, width, 2 if number > 1 and place == 0 else 1))
                inputs = width * block.expansion
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, dim)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):  # He et al., ICCV 2015
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, dim]."""
        embedding: Tensor = self.fc(self.features(x).mean((2, 3)))
        return embedding

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to the features of the last stage, [B, C, H / 32, W / 32]."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return x

    def blocks(self) -> list[nn.Module]:
        """The blocks of all stages, in order."""
        return [block for number in range(1, 5) for block in getattr(self, f"layer{number}")]


def _build(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    *,
    dim: int,
    height: int,  # noqa: ARG001 - any size fits
    width: int,  # noqa: ARG001
) -> nn.Module:
    return ResNet(block, depths, dim)


_DEFAULTS = BackboneDefaults(
    preprocessing=Preprocessing(height=224, width=224),
    dim=256,
    mean=IMAGENET_MEAN,
    deviation=IMAGENET_DEVIATION,
)


def _backbone(block: type[BasicBlock] | type[Bottleneck], *depths: int) -> Backbone:
    build = partial(_build, block, depths)
    return Backbone(_DEFAULTS, build, head="fc", dense=Dense(STRIDE, DenseResNet))


BACKBONES = {
    "resnet18": _backbone(BasicBlock, 2, 2, 2, 2),
    "resnet34": _backbone(BasicBlock, 3, 4, 6, 3),
    "resnet50": _backbone(Bottleneck, 3, 4, 6, 3),
}
