"""AlexNet in CaffeNet's order of layers, as in the paper (section 4) and its prototxt."""

import torch
from torch import Tensor, nn

from toolkit.errors import UsageError
from toolkit.networks.backbones import Backbone, BackboneDefaults, Dense
from toolkit.networks.dense_alexnet import STRIDE, DenseAlexNet
from toolkit.preprocess import Preprocessing

DEFAULTS = BackboneDefaults(
    preprocessing=Preprocessing(height=227, width=227, channels="bgr", scale=1.0),
    dim=1024,
    mean_image=True,
)


class AlexNet(nn.Module):
    """float [B, 3, height, width] to float [B, dim]; the last layer ends in a ReLU.

    Pooling comes before local response normalisation (CaffeNet's order); conv2, conv4 and
    conv5 have two groups, a trace of the two GPUs of 2012.
    """

    def __init__(self, dim: int, height: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        rows, columns = _pool5_size(height), _pool5_size(width)
        if min(rows, columns) < 1:
            raise UsageError(
                f"AlexNet cannot take an input of {height}x{width} pixels.",
                mend="Choose a --size of at least 55; the paper's is 227.",
            )
        self.fc6 = nn.Linear(256 * rows * columns, 4096)
        self.fc7 = nn.Linear(4096, dim)
        self._initialise()

    def _initialise(self) -> None:
        for name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                deviation = 0.005 if isinstance(layer, nn.Linear) else 0.01
                nn.init.normal_(layer.weight, std=deviation)
                assert layer.bias is not None
                nn.init.constant_(layer.bias, 0.0 if name in ("conv1", "conv3") else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, height, width] to [B, dim], not negative."""
        x = torch.relu(self.fc6(self.features(x).flatten(1)))
        return torch.relu(self.fc7(x))

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] of any size to pool5, [B, 256, rows, columns]: 32 pixels apart."""
        x = self.norm(self.pool(torch.relu(self.conv1(x))))
        x = self.norm(self.pool(torch.relu(self.conv2(x))))
        x = torch.relu(self.conv3(x))
        x = torch.relu(self.conv4(x))
        features: Tensor = self.pool(torch.relu(self.conv5(x)))
        return features


def _pool5_size(pixels: int) -> int:
    """Rows (or columns) of pool5 for an input of so many pixels: 6 for 227."""
    size = (pixels - 11) // 4 + 1
    for _ in range(3):  # three poolings of 3x3/2, rounded up as Caffe does
        if size < 3:
            return 0
        size = -(-(size - 3) // 2) + 1
    return size


def build(*, dim: int, height: int, width: int) -> nn.Module:
    """A freshly initialised AlexNet; gaussian 0.01 (fully connected 0.005)."""
    return AlexNet(dim, height, width)


BACKBONES = {
    "alexnet": Backbone(DEFAULTS, build, head="fc7", dense=Dense(STRIDE, DenseAlexNet)),
}
