"""Layers that look beyond one row, made to look at the rows of all processes.

BatchNorm takes its statistics over the whole batch, and dropout draws for the whole batch, so
that several processes train what one would. Names and shapes of the weights stay as they are,
and outside of training these layers are the ordinary ones.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.errors import UsageError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(slots=True)
class Place:
    """Where this process's rows begin among the `total` rows of the batch at hand."""

    first: int = 0
    total: int = 0


class UnionBatchNorm(_BatchNorm):
    """BatchNorm over the rows of all processes, which may have unequal numbers of them.

    torch's SyncBatchNorm needs a GPU, and makes the processor wait for it in every layer.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any (rows, channels, ...) will do."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] to the same shape."""
        if not self.training:
            return super().forward(input)
        result: tuple[Tensor, Tensor, Tensor] = _UnionNorm.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        output, mean, variance = result
        if self.running_mean is not None and self.running_var is not None:
            self._follow(mean, variance)
        return output

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        part = self.momentum or 1.0 / self.num_batches_tracked
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance, part)


class _UnionNorm(torch.autograd.Function):
    """The normalised input, and the mean and unbiased variance over all processes."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, squares, count = _union_statistics(x)
        variance = squares / count
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        output = nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps)
        unbiased = squares / (count - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return output, mean, unbiased

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Any, ...]:  # type: ignore[no-untyped-def]
        import torch.distributed as dist

        x, weight, mean, inverse, count = ctx.saved_tensors
        over, shape = _axes(x)
        gradient = _wide(gradients[0])
        normal = (_wide(x) - mean.view(shape)) * inverse.view(shape)
        local = torch.stack([gradient.sum(over), (gradient * normal).sum(over)])
        union = local.clone()
        dist.all_reduce(union)
        plain, along = (union / count).view(2, *shape)
        scale = inverse if weight is None else inverse * weight
        change = (gradient - plain - normal * along) * scale.view(shape)
        # Of weight and bias only this process's part: the parts are averaged later, with
        # those of all other parameters.
        of_weight, of_bias = (None, None) if weight is None else (local[1], local[0])
        return change.to(x.dtype), of_weight, of_bias, None


def _wide(x: Tensor) -> Tensor:
    """Statistics need more digits than bfloat16 has."""
    return x.float() if x.itemsize < 4 else x


def _axes(x: Tensor) -> tuple[list[int], tuple[int, ...]]:
    """All axes but the channels, and the shape that spreads a channel's number over x."""
    return [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))


def _union_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), sum of squared deviations (C,) and count (1,) over all processes' rows.

    Combined from each process's own mean (Chan et al. 1979): the difference of large sums of
    squares would lose the digits.
    """
    import torch.distributed as dist

    over, _ = _axes(x)
    own = float(x.numel() // x.shape[1])
    variance, mean = torch.var_mean(_wide(x), over, correction=0)
    packed = torch.cat([mean, variance * own, mean.new_full((1,), own)])
    parts = [torch.empty_like(packed) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, packed)
    union, channels = torch.stack(parts), x.shape[1]
    means, squares, counts = union[:, :channels], union[:, channels:-1], union[:, -1:]
    count = counts.sum(0)
    center = (means * counts).sum(0) / count
    return center, (squares + counts * (means - center).square()).sum(0), count


class UnionDropout(nn.Dropout):
    """Dropout drawn for the rows of all processes, of which this one takes its own.

    With the same seed in all of them their draws are independent, and on the CPU those of
    one process.
    """

    def __init__(self, p: float, place: Place) -> None:
        super().__init__(p)
        self.place = place

    def forward(self, input: Tensor) -> Tensor:
        """[B, ...] to the same shape."""
        if not self.training or self.p == 0:
            return input
        kept = input.new_empty((self.place.total, *input.shape[1:])).bernoulli_(1 - self.p)
        first = self.place.first
        return input * (kept[first : first + len(input)] / (1 - self.p))


def share_layers(network: nn.Module, place: Place) -> None:
    """Put these layers in the place of a network's own, with the same parameters and buffers.

    Raises UsageError for a kind of BatchNorm that is not torch's own.
    """
    for name, layer in list(network.named_modules()):
        for child_name, child in list(layer.named_children()):
            if type(child) in _NORMS:
                setattr(layer, child_name, _union_norm(child))
            elif type(child) is nn.Dropout:
                setattr(layer, child_name, UnionDropout(child.p, place).train(child.training))
            elif isinstance(child, _BatchNorm) and not isinstance(child, UnionBatchNorm):
                raise UsageError(
                    f"The layer {name}.{child_name} is a {type(child).__name__}, which cannot "
                    "be computed over several processes.",
                    mend="Train this backbone on one GPU.",
                )


def check_compilable(network: nn.Module) -> None:
    """Raise UsageError for BatchNorm: what it sends stalls in compiled graphs."""
    if any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        raise UsageError(
            "The setting compile is true, which does not go together with several processes "
            "for a backbone with BatchNorm.",
            mend="Leave out --compile, or train on one GPU.",
        )


def _union_norm(layer: _BatchNorm) -> UnionBatchNorm:
    union = UnionBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    union._parameters = layer._parameters
    union._buffers = layer._buffers
    return union.train(layer.training)
