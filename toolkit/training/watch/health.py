"""Two figures that show a collapse, whatever the loss."""

import torch
from torch import Tensor


def spread(embeddings: Tensor) -> float:
    """How far embeddings (N, D) of length 1 lie apart: 1 as if drawn evenly, 0 collapsed.

    The length of the vector of standard deviations: 1 where their mean is the origin.
    """
    return float(embeddings.float().std(0, unbiased=False).norm())


def effective_rank(embeddings: Tensor) -> float:
    """How many directions embeddings (N, D) of length 1 use, 0 to min(N - 1, D).

    The exponential of the entropy of the singular values of the centred rows, taken as
    parts of their sum (Roy & Vetterli, "The effective rank", EUSIPCO 2007). 0 where all rows
    are equal to the accuracy of float32, which the paper leaves undefined; NaN where a row is.
    """
    rows = embeddings.detach().to("cpu", torch.float64)
    if not rows.isfinite().all():
        return float("nan")
    centred = rows - rows.mean(0)
    # The smaller of the two products has all singular values that are not 0, squared.
    wide = centred.shape[0] < centred.shape[1]
    squares = torch.linalg.eigvalsh(centred @ centred.T if wide else centred.T @ centred)
    values = squares.clamp(min=0).sqrt()
    noise = torch.finfo(torch.float32).eps * max(rows.shape) * rows.norm()
    values = values[values > noise]
    if not len(values):
        return 0.0
    parts = values / values.sum()
    return float(torch.exp(-(parts * parts.log()).sum()))
