"""AlexNet over a large picture: its fully-connected layers are convolutions there."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from toolkit.networks.dense_layers import Level, as_convolution

if TYPE_CHECKING:
    from toolkit.networks.alexnet import AlexNet

STRIDE = 32  # pixels between the features of pool5


class DenseAlexNet(nn.Module):
    """float [B, 3, H, W] to [B, dim, rows, columns]; shares the weights of an AlexNet.

    fc6 is a convolution over the pool5 features of a window (6x6 for 227 pixels), fc7 one
    of 1x1.
    """

    def __init__(self, network: "AlexNet", height: int, width: int, stride: int) -> None:
        super().__init__()
        level = Level.of(height, width).through(
            *(network.conv1, network.pool, network.conv2, network.pool),
            *(network.conv3, network.conv4, network.conv5, network.pool),
        )
        self.margin = level.margin
        self.network = network
        step = stride // level.stride
        self.fc6 = as_convolution(network.fc6, level.rows, level.columns, step)
        self.fc7 = as_convolution(network.fc7)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, dim, rows, columns], not negative."""
        x = torch.relu(self.fc6(self.network.features(x)))
        return torch.relu(self.fc7(x))
