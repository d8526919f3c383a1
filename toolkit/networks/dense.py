"""An embedding network over a large picture: one pass embeds every window of it.

What is computed is what the network computes, with one difference. Alone, a window ends in
the zeros with which convolutions are padded; in a picture it ends in its neighbours. So the
embedding of a window is a little different from that of the window cut out, but where the
picture is the window, and nothing else, the two are the same.

Only whole windows are seen: less than a stride at the bottom and on the right is cut off.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from toolkit.errors import UsageError
from toolkit.networks.backbones import Dense, find_backbone
from toolkit.networks.dense_grid import Grid
from toolkit.networks.embedder import NORM_FLOOR, EmbeddingNetwork, InputLayer


class DenseNetwork(nn.Module):
    """uint8 [B, H, W, 3] RGB to float [B, rows, columns, dim], each vector of length 1.

    Row and column count the windows of `grid`. Shares the weights of the network, which has
    to be in evaluation mode. A mean image becomes its mean over the picture: windows that
    share pixels cannot each have its own part of it taken off.
    """

    def __init__(self, network: EmbeddingNetwork, grid: Grid, backbone: nn.Module) -> None:
        super().__init__()
        self.grid = grid
        self.preprocess = flat_input(network.preprocess)
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, 3], at least one window, to float [B, rows, columns, dim]."""
        height, width = self.grid.whole(images.shape[1], images.shape[2])
        features = self.backbone(self.preprocess(images[:, :height, :width])).float()
        embeddings: Tensor = features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)
        return embeddings.permute(0, 2, 3, 1)


def make_dense(network: EmbeddingNetwork, stride: int | None = None) -> DenseNetwork:
    """Lay a network in evaluation mode over large pictures; its weights are shared.

    The windows are of its input size. stride: pixels between windows, a multiple of the
    backbone's own; None takes `default_stride`. Raises UsageError for another stride and for
    a backbone that is not convolutional throughout.
    """
    spec = network.preprocessing
    dense = _find(network)
    if stride is None:
        stride = default_stride(dense.stride, min(spec.height, spec.width))
    if stride < 1 or stride % dense.stride:
        raise UsageError(
            f"Windows of {network.backbone_name} cannot be {stride} pixels apart.",
            mend=f"Use a multiple of {dense.stride}, the distance of its deepest features.",
        )
    backbone = dense.convert(network.backbone, spec.height, spec.width, stride)
    margin = cast("int", backbone.margin)
    return DenseNetwork(network, Grid(spec.height, spec.width, stride, margin), backbone).eval()


def default_stride(own: int, window: int) -> int:
    """The largest multiple of the backbone's own stride within a quarter of the window.

    Whatever lies in the picture is then at most an eighth of a window off the middle of one.
    """
    return max(own, window // 4 // own * own)


def _find(network: EmbeddingNetwork) -> Dense:
    dense = find_backbone(network.backbone_name, network.architecture).dense
    if dense is None:
        raise UsageError(
            f"The backbone {network.backbone_name} cannot be laid over larger pictures: it is "
            "not convolutional throughout, or vr does not know how.",
            mend="Use alexnet, small or a resnet, or embed windows one by one.",
        )
    return dense


def flat_network(network: EmbeddingNetwork) -> EmbeddingNetwork:
    """The network that a dense one is made of: with `flat_input`, sharing all weights.

    Over a picture of one window the dense network computes exactly this.
    """
    twin = copy.copy(network)
    twin._modules = {**network._modules, "preprocess": flat_input(network.preprocess)}
    return twin


def flat_input(layer: InputLayer) -> InputLayer:
    """The input layer with the mean image, where there is one, replaced by its mean."""
    flat = InputLayer(layer.preprocessing)
    with torch.no_grad():
        flat.mean.copy_(layer.mean.mean((1, 2), keepdim=True))
        flat.deviation.copy_(layer.deviation)
    return flat
