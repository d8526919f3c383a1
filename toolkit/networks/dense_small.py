"""The small network over a large picture: its means become means over windows."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from toolkit.networks.dense_layers import Level, WindowMean, as_affine

if TYPE_CHECKING:
    from toolkit.networks.small import ColorHistogram, SmallNetwork

STRIDE = 16  # pixels between the features of the last block


class DenseHistogram(nn.Module):
    """float [B, 3, H, W] to [B, 64, rows, columns]: the histogram of each window."""

    reds: Tensor
    greens: Tensor
    order: Tensor

    def __init__(self, colors: "ColorHistogram", level: Level, stride: int) -> None:
        super().__init__()
        self.colors = colors
        self.mean = WindowMean(level, stride)
        bins = len(colors.centers)
        both = torch.arange(bins**2)
        self.register_buffer("reds", both // bins)
        self.register_buffer("greens", both % bins)
        # The network counts the bins of blue fastest; here they come slowest.
        self.register_buffer("order", torch.arange(bins**3).view(bins, -1).T.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Each pixel's share in each of the 64 bins, then the means over the windows."""
        # One bin of blue at a time: all 64 of every pixel would be the largest thing in memory.
        # No channel is split or merged, so that no shape gets into an exported graph.
        x = nn.functional.avg_pool2d(x, 2)
        red, green, blue = (self.colors.shares(x[:, c : c + 1], 1) for c in range(3))
        pairs = red.index_select(1, self.reds) * green.index_select(1, self.greens)
        joint = [self.mean(pairs * blue[:, b : b + 1]) for b in range(blue.shape[1])]
        return self.colors.root(torch.cat(joint, 1).index_select(1, self.order))


class DenseSmallNetwork(nn.Module):
    """float [B, 3, H, W] to [B, dim, rows, columns]; shares the weights of a SmallNetwork."""

    def __init__(self, network: "SmallNetwork", height: int, width: int, stride: int) -> None:
        super().__init__()
        pixels = Level.of(height, width)
        colors = pixels.through(nn.AvgPool2d(2))
        self.colors = DenseHistogram(network.colors, colors, stride)
        self.network = network
        self.margin = colors.margin
        level = pixels.through(*network.stem)
        self.means = nn.ModuleList([WindowMean(level, stride)])
        for block in network.blocks:
            level = level.through(*block.children())
            self.means.append(WindowMean(level, stride))
            self.margin = max(self.margin, level.margin)
        self.head = as_affine(network.norm, network.head)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, dim, rows, columns]."""
        levels = zip(self.means, self.network.levels(x), strict=True)
        means = [self.colors(x), *(mean(level) for mean, level in levels)]
        embedding: Tensor = self.head(torch.cat(means, 1))
        return embedding
