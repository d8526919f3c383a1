"""A small residual network for work on a CPU: about 1.3 million weights, any input size.

Beside its deepest features it keeps the mean of every shallower level, and a histogram of
the colours. From a few hundred pairs a deep network does not learn to see colour and
texture by itself; given their statistics it learns which of them to trust. Dropout over all
of them keeps it from trusting too few.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from toolkit.networks.backbones import Backbone, BackboneDefaults, Dense
from toolkit.networks.dense_small import STRIDE, DenseSmallNetwork
from toolkit.preprocess import Preprocessing

DEFAULTS = BackboneDefaults(
    preprocessing=Preprocessing(height=64, width=64), dim=128, mean_image=False
)

_BINS = 4  # of each colour channel in the histogram
_SHARPNESS = 8.0  # a colour in the middle of a bin is all but wholly counted in it
_DROPOUT = 0.3
_WIDTHS = (32, 64, 128, 256)
_STRIDES = (1, 2, 2, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., CVPR 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ColorHistogram(nn.Module):
    """float [B, 3, H, W] of -2 to 2 to [B, 64]: the root of a soft histogram of colours."""

    centers: Tensor

    def __init__(self) -> None:
        super().__init__()
        edge = 2 - 2 / _BINS
        self.register_buffer("centers", torch.linspace(-edge, edge, _BINS).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 64]; every pixel is shared out among near bins."""
        x = nn.functional.avg_pool2d(x, 2)
        red, green, blue = self.shares(x.unsqueeze(2), 2).flatten(3).unbind(1)
        pairs = (red.unsqueeze(2) * green.unsqueeze(1)).flatten(1, 2)
        joint = pairs @ blue.transpose(1, 2) / pairs.shape[2]
        return self.root(joint.flatten(1))

    def shares(self, x: Tensor, axis: int) -> Tensor:
        """How much of each value is in each bin: `axis`, of length 1, becomes that of the bins.

        It is the third from the end.
        """
        return (-_SHARPNESS * (x - self.centers).square()).softmax(axis)

    def root(self, joint: Tensor) -> Tensor:
        """Shares of the picture's pixels to what the network takes of them."""
        return (joint + 1e-4).sqrt()


class SmallNetwork(nn.Module):
    """float [B, 3, H, W] to float [B, dim]: colours and the means of all levels, mixed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.colors = ColorHistogram()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _WIDTHS[0], 3, 2, 1, bias=False), nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU()
        )
        inputs = (_WIDTHS[0], *_WIDTHS[:-1])
        self.blocks = nn.ModuleList(
            ResidualBlock(*shape) for shape in zip(inputs, _WIDTHS, _STRIDES, strict=True)
        )
        levels = _BINS**3 + _WIDTHS[0] + sum(_WIDTHS)
        self.norm = nn.BatchNorm1d(levels)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(levels, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, dim]."""
        means = [self.colors(x), *(level.mean((2, 3)) for level in self.levels(x))]
        embedding: Tensor = self.head(self.dropout(self.norm(torch.cat(means, 1))))
        return embedding

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        """[B, 3, H, W] to the features of every level, each [B, C, H / stride, W / stride]."""
        for layer in (self.stem, *self.blocks):
            x = layer(x)
            yield x


def build(*, dim: int, height: int, width: int) -> nn.Module:  # noqa: ARG001 - any size fits
    """A freshly initialised small network; mean pooling makes it free of the input size."""
    return SmallNetwork(dim)


BACKBONES = {"small": Backbone(DEFAULTS, build, dense=Dense(STRIDE, DenseSmallNetwork))}
