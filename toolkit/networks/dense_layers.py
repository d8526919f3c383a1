"""What it takes to lay a network over a picture that is larger than its input."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """The features after some layers, for one window of the input.

    rows, columns: how many a window has. stride: pixels from one to the next. before, after:
    feature i depends on the pixels from i * stride - before to i * stride + after. inputs:
    height and width of the window.
    """

    inputs: tuple[int, int]
    rows: int
    columns: int
    stride: int = 1
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, height: int, width: int) -> Self:
        """The pixels themselves."""
        return cls((height, width), height, width)

    def through(self, *layers: nn.Module) -> "Level":
        """The level behind convolutions and poolings; other layers leave it as it is."""
        level = self
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                level = level._behind(layer)
        return level

    def _behind(self, layer: "nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d") -> "Level":
        kernel, step = _one(layer.kernel_size), _one(layer.stride)
        padding = _padding(layer)
        up = getattr(layer, "ceil_mode", False)
        rows, columns = (
            _output(n + 2 * padding - kernel, step, up=up) for n in (self.rows, self.columns)
        )
        return replace(
            self,
            rows=rows,
            columns=columns,
            stride=self.stride * step,
            before=self.before + padding * self.stride,
            after=self.after + (kernel - 1 - padding) * self.stride,
        )

    @property
    def margin(self) -> int:
        """How far beyond its window, in pixels, the features of a window see at most."""
        ends = (
            (n - 1) * self.stride + self.after + 1 - pixels
            for n, pixels in zip((self.rows, self.columns), self.inputs, strict=True)
        )
        return max(self.before, *ends)


def _one(size: Pair) -> int:
    if isinstance(size, int):
        return size
    if len(set(size)) != 1:
        raise ValueError(f"a layer that differs down and across, {size}, cannot be laid out")
    return size[0]


def _padding(layer: nn.Module) -> int:
    padding = layer.padding
    assert isinstance(padding, int | tuple)  # neither "same" nor "valid" is used here
    return _one(padding)


def _output(room: int, step: int, *, up: bool) -> int:
    return (-(-room // step) if up else room // step) + 1


class WindowMean(nn.Module):
    """[B, C, H, W] features of a level to their means over windows, [B, C, rows, columns]."""

    def __init__(self, level: Level, stride: int) -> None:
        super().__init__()
        self.rows, self.columns = level.rows, level.columns
        self.step = stride // level.stride

    def forward(self, x: Tensor) -> Tensor:
        """Down first and then across: that many times fewer sums than both at once."""
        x = functional.avg_pool2d(x, (self.rows, 1), (self.step, 1))
        return functional.avg_pool2d(x, (1, self.columns), (1, self.step))


def as_convolution(layer: nn.Linear, rows: int = 1, columns: int = 1, stride: int = 1) -> nn.Conv2d:
    """A layer over flattened [C, rows, columns] features as a convolution that shares it.

    Its kernel is those features of one window; stride: of its windows, in features.
    """
    outputs, inputs = layer.weight.shape
    channels = inputs // (rows * columns)
    made = nn.Conv2d(channels, outputs, (rows, columns), stride, device="meta")
    made.weight = nn.Parameter(layer.weight.detach().view(outputs, channels, rows, columns))
    made.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach())
    return made


def as_affine(norm: nn.BatchNorm1d, layer: nn.Linear) -> nn.Conv2d:
    """A batch normalisation in evaluation and the layer behind it, as one 1x1 convolution."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias.detach() - norm.running_mean * scale
    folded = nn.Linear(layer.in_features, layer.out_features, device="meta")
    weight = layer.weight.detach()
    bias = weight @ shift
    if layer.bias is not None:
        bias = bias + layer.bias.detach()
    folded.weight, folded.bias = nn.Parameter(weight * scale), nn.Parameter(bias)
    return as_convolution(folded)
