"""What every loss is called with, and what it asks of its input."""

import torch
from torch import Tensor, nn


class PairLoss(nn.Module):
    """A loss of a batch of pairs, a scalar of the embeddings of all its rows."""

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The loss of L2-normalised embeddings (2P, D) with labels (2P,), one a track.

        generator: where what is drawn comes from, on any device; the same numbers on every
        device need one of the CPU. negatives: boolean (P, 2P), the rows that may be
        negatives of each pair besides having another label; None for all of them.
        """
        raise NotImplementedError

    def set_ratios(self, hard_ratio: float, rand_ratio: float) -> None:
        """Which part of the negatives is drawn from the hard ones, and which from the others.

        Called before each step; a loss that does not draw has nothing to do.
        """


def check_pairs(embeddings: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless embeddings are (2P, D) and labels (2P,), P >= 1."""
    rows = embeddings.shape[0] if embeddings.ndim == 2 else 0
    if rows < 2 or rows % 2 or labels.shape != (rows,):
        raise ValueError(
            "a loss takes embeddings (2P, D) and labels (2P,) with P >= 1, rows 2i and 2i+1 "
            f"being a pair; got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
