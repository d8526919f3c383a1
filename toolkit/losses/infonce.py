"""InfoNCE over the pairs of a batch (van den Oord et al. 2018), with several positives.

Where a track comes with several pairs, all its rows are positives of each other, as in
"Supervised Contrastive Learning" (Khosla et al. 2020, the loss L_out); with one pair a track
it is the symmetric loss of SimCLR.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toolkit.losses.base import PairLoss, check_pairs

if TYPE_CHECKING:
    from toolkit.training.settings import TrainSettings


class InfoNceLoss(PairLoss):
    """Each row must find every other row of its label among all the rows but itself.

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
        """Minus the log-probability of the positives: their mean, then the mean over rows.

        A row of another label that is no negative (see PairLoss) counts neither way.
        """
        check_pairs(embeddings, labels)
        logits = embeddings @ embeddings.T / self.temperature
        positives = labels[:, None] == labels[None]
        left_out = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        if negatives is not None:
            left_out = left_out | ~(positives | negatives.repeat_interleave(2, 0))
        positives = positives & ~left_out
        total = logits.masked_fill(left_out, -torch.inf).logsumexp(1)
        mean = logits.masked_fill(~positives, 0).sum(1) / positives.sum(1)
        return (total - mean).mean()


def build(settings: "TrainSettings") -> PairLoss:
    """The loss with the settings of a run."""
    return InfoNceLoss(settings.temperature)
