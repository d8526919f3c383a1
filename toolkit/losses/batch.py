"""What every loss asks of its input."""

from torch import Tensor


def check_pairs(embeddings: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless embeddings are (2P, D) and labels (2P,), P >= 1."""
    rows = embeddings.shape[0] if embeddings.ndim == 2 else 0
    if rows < 2 or rows % 2 or labels.shape != (rows,):
        raise ValueError(
            "a loss takes embeddings (2P, D) and labels (2P,) with P >= 1, rows 2i and 2i+1 "
            f"being a pair; got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
