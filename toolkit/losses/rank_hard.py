"""The ranking loss with hard negatives of Wang & Gupta, ICCV 2015 (section 4.2).

Exactly the published layer: which rows may be negatives, how they are drawn, both sides of
the hinge, and a divisor that does not depend on how many terms are active.
"""

import torch
from torch import Tensor, nn

from toolkit.losses.batch import check_pairs


class RankHardLoss(nn.Module):
    """Triplet hinge over up to `neg_num` negatives a pair.

    hard_ratio and rand_ratio: which part of the neg_num negatives is drawn from the nearest
    candidates, and which from the others; margin: in units of cosine similarity.
    """

    def __init__(
        self,
        neg_num: int = 4,
        hard_ratio: float = 0.5,
        rand_ratio: float = 0.5,
        margin: float = 0.5,
    ) -> None:
        super().__init__()
        if neg_num < 1 or not 0 <= hard_ratio <= 1 or not 0 <= rand_ratio <= 1 or margin < 0:
            raise ValueError(
                "RankHardLoss needs neg_num >= 1, ratios from 0 to 1 and margin >= 0; got "
                f"{neg_num=} {hard_ratio=} {rand_ratio=} {margin=}"
            )
        self.neg_num = neg_num
        self.hard_ratio = hard_ratio
        self.rand_ratio = rand_ratio
        self.margin = margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The loss of L2-normalised embeddings (2P, D) with labels (2P,), a scalar.

        negatives: boolean (P, 2P), the rows that may be negatives of each pair besides
        having another label; None for all of them, as published.
        """
        with torch.no_grad():
            chosen = self.select(embeddings, labels, generator, negatives)
        return self.loss_for(embeddings, chosen)

    def loss_for(self, embeddings: Tensor, chosen: Tensor) -> Tensor:
        """The loss for given negatives: boolean mask (P, 2P), one row a pair."""
        anchors, positives = embeddings[0::2], embeddings[1::2]
        positive_distance = -(anchors * positives).sum(1, keepdim=True)
        hinges = embeddings.new_zeros(())
        for side in (anchors, positives):
            violation = positive_distance + side @ embeddings.T + self.margin
            hinges = hinges + (violation.clamp(min=0) * chosen).sum()
        return hinges / (self.neg_num * len(anchors) * 2)

    def select(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The negatives of each pair: boolean mask (P, 2P) over the rows of the batch.

        Candidates carry another label and violate the margin on the anchor's side. Where
        there are more than neg_num of them, the neg_num nearest are the hard pool, of which
        int(neg_num * hard_ratio) are drawn; what is left of the pool joins the others, of
        which int(neg_num * rand_ratio) are drawn.
        """
        check_pairs(embeddings, labels)
        anchors = embeddings[0::2]
        similarity = anchors @ embeddings.T
        positive = (anchors * embeddings[1::2]).sum(1, keepdim=True)
        violates = similarity - positive + self.margin > 0
        candidates = violates & (labels[0::2, None] != labels[None])
        if negatives is not None:
            candidates &= negatives

        # Two draws: keys that chose the hard ones would tell against what is left of the pool.
        first, second = torch.rand(
            (2, *similarity.shape), device=similarity.device, generator=generator
        )
        pool = _largest(similarity, candidates, self.neg_num)
        hard = _largest(first, pool, int(self.neg_num * self.hard_ratio))
        rest = _largest(second, candidates & ~hard, int(self.neg_num * self.rand_ratio))
        few = candidates.sum(1, keepdim=True) <= self.neg_num
        return torch.where(few, candidates, hard | rest)


def _largest(keys: Tensor, among: Tensor, count: int) -> Tensor:
    """A mask of the `count` largest keys (rows, columns) of each row where `among` holds."""
    count = min(count, keys.shape[1])
    top = keys.masked_fill(~among, -torch.inf).topk(count, dim=1).indices
    return torch.zeros_like(among).scatter_(1, top, True) & among
