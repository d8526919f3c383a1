"""Pictures to vectors of length 1: preprocessing, backbone and normalisation in one module.

This whole module is what is trained, saved and exported, so that no step of it can get
lost between training and use.
"""

from typing import Any

import torch
from torch import Tensor, nn

from toolkit.networks.backbones import (
    Architecture,
    BackboneDefaults,
    PerChannel,
    describe_backbone,
    find_backbone,
)
from toolkit.preprocess import Preprocessing

NORM_FLOOR = 1e-6  # added to the length before dividing, as the published prototxt does

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what OpenCV and Caffe call gray


class InputLayer(nn.Module):
    """uint8 [B, height, width, 3] RGB to float [B, 3, height, width], as the record says.

    The mean ([3, 1, 1] or [3, height, width], in scaled units and channel order) and the
    deviation ([3, 1, 1]) are buffers: they are saved and exported with the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        mean_image: bool = False,
        defaults: BackboneDefaults | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        shape = (3, preprocessing.height, preprocessing.width) if mean_image else (3, 1, 1)
        middle = 127.5 * preprocessing.scale
        self.register_buffer("mean", torch.full(shape, middle))
        deviation = 1.0 if mean_image else middle / 2
        self.register_buffer("deviation", torch.full((3, 1, 1), deviation))
        if defaults is not None and not mean_image:
            self._fill(self.mean, defaults.mean)
            self._fill(self.deviation, defaults.deviation)

    def _fill(self, buffer: Tensor, values: PerChannel | None) -> None:
        """Published statistics; those of gray stay per channel, as is usual with such weights."""
        if values is not None:
            ordered = values[::-1] if self.preprocessing.channels == "bgr" else values
            buffer.copy_(torch.tensor(ordered).view(3, 1, 1))

    @property
    def has_mean_image(self) -> bool:
        """Whether the mean differs from place to place."""
        return self.mean.shape[-1] != 1

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, height, width, 3] to float [B, 3, height, width]."""
        # The cast comes first: TensorRT takes uint8 for an input and for nothing but a cast.
        return self.normalise(images.float().permute(0, 3, 1, 2))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Float RGB [B, 3, height, width] of 0..255 to what the backbone takes."""
        return (self.order(pixels) - self.mean) / self.deviation

    def order(self, pixels: Tensor) -> Tensor:
        """Channels in the backbone's order, scaled; the mean is not yet taken off."""
        if self.preprocessing.channels == "bgr":
            pixels = pixels.flip(1)
        elif self.preprocessing.channels == "gray":
            red, green, blue = _LUMA
            gray = red * pixels[:, 0:1] + green * pixels[:, 1:2] + blue * pixels[:, 2:3]
            pixels = gray.expand(-1, 3, -1, -1)
        return pixels * self.preprocessing.scale


class EmbeddingNetwork(nn.Module):
    """uint8 [B, height, width, 3] RGB to float [B, dim], each row of length 1.

    architecture: what a backbone of another package is built of, where it is known already;
    None asks for it by name. Raises UsageError, MissingError.
    """

    def __init__(
        self,
        backbone: str,
        preprocessing: Preprocessing,
        dim: int,
        *,
        mean_image: bool = False,
        architecture: Architecture | None = None,
    ) -> None:
        super().__init__()
        self.backbone_name = backbone
        self.preprocessing = preprocessing
        self.dim = dim
        self.initial: dict[str, Any] = {}  # what the weights began from, if they were not drawn
        self.architecture = (
            describe_backbone(backbone) if architecture is None else dict(architecture)
        )
        made = find_backbone(backbone, self.architecture)
        self.head_name = made.head
        self.preprocess = InputLayer(preprocessing, mean_image=mean_image, defaults=made.defaults)
        self.backbone = made.build(dim=dim, height=preprocessing.height, width=preprocessing.width)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, height, width, 3] to float [B, dim]."""
        return self.embed_input(self.preprocess(images))

    def embed_input(self, x: Tensor) -> Tensor:
        """What the input layer gave, float [B, 3, height, width], to float32 [B, dim]."""
        features: Tensor = self.backbone(x).float()
        embeddings: Tensor = features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)
        return embeddings
