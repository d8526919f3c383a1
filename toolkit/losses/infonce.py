"""InfoNCE over the pairs of a batch (van den Oord et al. 2018; symmetric, as in SimCLR)."""

import torch
from torch import Tensor, nn

from toolkit.losses.batch import check_pairs


class InfoNceLoss(nn.Module):
    """Each row must find its partner among all rows of other labels.

    temperature: divides the cosine similarity; smaller looks harder at near negatives.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"InfoNceLoss needs temperature > 0; got {temperature=}")
        self.temperature = temperature

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,  # noqa: ARG002 - nothing is drawn here
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The loss of L2-normalised embeddings (2P, D) with labels (2P,), a scalar.

        negatives: boolean (P, 2P), the rows that may be negatives of each pair besides
        having another label; None for all of them.
        """
        check_pairs(embeddings, labels)
        logits = embeddings @ embeddings.T / self.temperature
        rows = torch.arange(len(embeddings), device=embeddings.device)
        partner = rows ^ 1  # 2i <-> 2i+1
        unknown = labels[:, None] == labels[None]  # itself and the rest of its track
        if negatives is not None:
            unknown |= ~negatives.repeat_interleave(2, 0)
        unknown[rows, partner] = False
        return nn.functional.cross_entropy(logits.masked_fill(unknown, -torch.inf), partner)
