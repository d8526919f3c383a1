"""Local response normalisation as ONNX's own node, which runtimes carry out in one pass."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

# what an ONNX node may carry, as torch.onnx.ops.symbolic has it
_Attribute = (
    int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]
)


class NativeLrn(nn.Module):
    """Stands in for nn.LocalResponseNorm in a graph that is being exported."""

    def __init__(self, layer: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.attributes: dict[str, _Attribute] = {
            "alpha": float(layer.alpha),
            "beta": float(layer.beta),
            "bias": float(layer.k),
            "size": int(layer.size),
        }

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        return torch.onnx.ops.symbolic("LRN", (x,), self.attributes, dtype=x.dtype, shape=x.shape)


def with_native_lrn(network: nn.Module) -> nn.Module:
    """A copy of the network that shares its weights and exports each LRN as one node."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, cast("dict[int, object]", shared))
    for parent in list(twin.modules()):
        for name, layer in parent.named_children():
            # torch and ONNX centre a window of even size differently; those stay as torch has them.
            if isinstance(layer, nn.LocalResponseNorm) and layer.size % 2:
                setattr(parent, name, NativeLrn(layer))
    return twin
