"""Find out about a network of another package by trying it on one picture."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from toolkit.errors import UsageError


def probe(network: nn.Module, features: Callable[[Tensor], Tensor], height: int, width: int) -> int:
    """The length of its features [1, C] for float [1, 3, height, width].

    Weights that no feature depends on are frozen (a mask token, say): training on several
    GPUs waits for the gradient of every other. Raises UsageError where the network cannot
    take the size, or gives other features each time.
    """
    training = network.training
    network.eval()
    picture = torch.linspace(-2, 2, 3 * height * width).view(1, 3, height, width)
    try:
        given = features(picture)
        again = features(picture)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UsageError(
            f"The backbone cannot take an input of {height}x{width} pixels: {error}",
            mend="Choose another --size, or leave it out for the backbone's own.",
        ) from error
    finally:
        network.train(training)
    if given.ndim != 2 or not torch.equal(given, again):
        raise UsageError(
            "The backbone gives no features of a picture, or other ones each time (a network "
            "that hides parts of its input at random?).",
            mend="Use another backbone.",
        )
    _freeze_unused(network, given)
    return given.shape[1]


def _freeze_unused(network: nn.Module, features: Tensor) -> None:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        features.sum(), weights, allow_unused=True
    )
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is None:
            weight.requires_grad_(False)
