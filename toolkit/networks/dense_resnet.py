"""A residual network over a large picture: its mean becomes a mean over windows."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from toolkit.networks.dense_layers import Level, WindowMean, as_convolution

if TYPE_CHECKING:
    from toolkit.networks.resnet import ResNet

STRIDE = 32  # pixels between the features of the last stage


class DenseResNet(nn.Module):
    """float [B, 3, H, W] to [B, dim, rows, columns]; shares the weights of a ResNet."""

    def __init__(self, network: "ResNet", height: int, width: int, stride: int) -> None:
        super().__init__()
        level = Level.of(height, width).through(network.conv1, network.maxpool)
        for block in network.blocks():
            # Of a block's two ways the longer: the shortcut sees nothing beyond it.
            level = level.through(*block.children())
        self.margin = level.margin
        self.network = network
        self.mean = WindowMean(level, stride)
        self.fc = as_convolution(network.fc)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, dim, rows, columns]."""
        embedding: Tensor = self.fc(self.mean(self.network.features(x)))
        return embedding
