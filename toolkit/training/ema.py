"""The exponential moving average of the weights over the steps.

The weights of a single step are noisy, their average is less so, and it is what is measured,
saved for use and exported. The training itself goes on with the plain weights.
"""

import copy

import torch
from torch import nn

from toolkit.networks.embedder import EmbeddingNetwork


class Ema:
    """A second network that follows the first; it lies on the same device.

    The decay rises with the steps, min(decay, (1 + n) / (10 + n)) after n of them, so that a
    short run is not an average with its own random beginning.

    Running statistics (BatchNorm) are averaged like the weights: to first order the mean that
    a layer gives is linear in the weights, so that averaged statistics fit averaged weights,
    and those of the newest weights do not. Counters are copied.
    """

    def __init__(self, network: EmbeddingNetwork, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step `step` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average, newest = self.network.state_dict(), network.state_dict()
        floats = [name for name, tensor in average.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [average[name] for name in floats], [newest[name] for name in floats], 1 - decay
        )
        for name in average.keys() - set(floats):
            average[name].copy_(newest[name])
