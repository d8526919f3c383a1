"""What turns gradients into changes of the weights: AdamW, or Caffe's gradient descent."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.training.settings import TrainSettings

MOMENTUM = 0.9  # of the published solver


class CaffeSgd(torch.optim.Optimizer):
    """Gradient descent with momentum as Caffe's solver does it.

    v = momentum * v + rate * (gradient + decay * w); w = w - v. torch.optim.SGD multiplies by
    the rate after the sum instead, so that a falling rate also shrinks what the past steps
    gave; here the past keeps the rate that it came with.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": MOMENTUM, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            gradients = [p.grad for p in weights]
            velocities = [self._velocity(p) for p in weights]
            rate, decay = group["lr"], group["weight_decay"]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients, alpha=rate)
            if decay:
                torch._foreach_add_(velocities, weights, alpha=rate * decay)
            torch._foreach_sub_(weights, velocities)

    def _velocity(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        velocity: Tensor = state["velocity"]
        return velocity


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of the settings; `rate_factor` of a group multiplies the rate of a step.

    Biases and the vectors of normalisations are not decayed; with sgd (paper, published
    prototxt) their rate is doubled.
    """
    learned = [p for p in network.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim >= 2]
    vectors = [p for p in learned if p.ndim < 2]
    sgd = settings.optimizer == "sgd"
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay, "rate_factor": 1.0},
        {"params": vectors, "weight_decay": 0.0, "rate_factor": 2.0 if sgd else 1.0},
    ]
    if sgd:
        return CaffeSgd(groups, settings.rate)
    return torch.optim.AdamW(groups, lr=settings.rate, fused=True)
