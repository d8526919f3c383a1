"""The ranking loss with hard negatives of Wang & Gupta, ICCV 2015 (section 4.2).

Exactly the published layer: which rows may be negatives, how they are drawn, both sides of
the hinge, and a divisor that does not depend on how many terms are active. Only the chosen
negatives are gathered and differentiated, so that what grows with the square of the batch is
one matrix product without gradient.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toolkit.losses.base import PairLoss, check_pairs

if TYPE_CHECKING:
    from toolkit.training.settings import TrainSettings


class RankHardLoss(PairLoss):
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

    def set_ratios(self, hard_ratio: float, rand_ratio: float) -> None:
        """Take these parts from now on."""
        self.hard_ratio = hard_ratio
        self.rand_ratio = rand_ratio

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The loss; every row of another label may be a negative unless `negatives` says no."""
        rows, chosen = self._choose(embeddings, labels, generator, negatives)
        return self._hinges(embeddings, rows, chosen)

    def loss_for(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """The loss for given negatives: boolean mask (P, 2P), one row a pair."""
        chosen, rows = mask.sort(1, descending=True)
        return self._hinges(embeddings, rows, chosen)

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
        rows, chosen = self._choose(embeddings, labels, generator, negatives)
        hits = torch.zeros(len(rows), len(labels), dtype=torch.int32, device=rows.device)
        return hits.scatter_add_(1, rows, chosen.int()) > 0

    @torch.no_grad()
    def _choose(
        self,
        embeddings: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
        negatives: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """(P, K) rows of the batch, and which of them count: the others fill the table."""
        check_pairs(embeddings, labels)
        nearness, candidates = self._candidates(embeddings, labels, negatives)
        pool_size = min(self.neg_num, nearness.shape[1])
        hard_count = min(int(self.neg_num * self.hard_ratio), pool_size)
        rand_count = int(self.neg_num * self.rand_ratio)
        device = generator.device if generator else "cpu"
        shape = (len(nearness), pool_size + rand_count)
        chance = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
        chance = chance.to(nearness.device, non_blocking=True)

        values, pool = nearness.topk(pool_size, dim=1)
        shuffled = pool.gather(1, chance[:, :pool_size].argsort(1))
        left = shuffled[:, hard_count:]
        others = candidates.scatter(1, pool, False)
        count = candidates.sum(1, keepdim=True)
        places = _distinct(chance[:, pool_size:], count - hard_count)
        drawn = torch.cat([shuffled[:, :hard_count], _at(places, left, others)], 1)
        valid = torch.cat([torch.ones_like(shuffled[:, :hard_count]), places + 1], 1) > 0
        few = count <= self.neg_num  # all of them are taken
        width = max(pool_size, drawn.shape[1])
        rows = torch.where(few, _widened(pool, width), _widened(drawn, width))
        known = values > -torch.inf
        return rows, torch.where(few, _widened(known, width), _widened(valid, width))

    def _candidates(
        self, embeddings: Tensor, labels: Tensor, negatives: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The similarity of each anchor to each row (P, 2P), -inf where it is no candidate."""
        anchors = embeddings[0::2]
        similarity = anchors @ embeddings.T
        positive = (anchors * embeddings[1::2]).sum(1, keepdim=True)
        candidates = similarity > positive - self.margin
        candidates &= labels[0::2, None] != labels[None]
        if negatives is not None:
            candidates &= negatives
        return similarity.masked_fill_(~candidates, -torch.inf), candidates

    def _hinges(self, embeddings: Tensor, rows: Tensor, chosen: Tensor) -> Tensor:
        """The loss for the rows (P, K) of the batch where `chosen` (P, K) holds."""
        pairs, count = rows.shape
        sides = embeddings.view(pairs, 2, -1)
        positive = (sides[:, 0] * sides[:, 1]).sum(1).view(pairs, 1, 1)
        negative = embeddings.index_select(0, rows.flatten()).view(pairs, count, -1)
        violation = negative @ sides.transpose(1, 2) - positive + self.margin
        total = violation.clamp(min=0).masked_fill(~chosen[..., None], 0).sum()
        return total / (self.neg_num * pairs * 2)


def _distinct(chance: Tensor, count: Tensor) -> Tensor:
    """Distinct whole numbers below count (P, 1), one a column of chance (P, K); -1 for none.

    Floyd's way: every set of K of them is as likely as every other.
    """
    wanted = chance.shape[1]
    first = (count[:, 0] - wanted).clamp(min=0)
    places = torch.full(chance.shape, -1, dtype=torch.long, device=chance.device)
    for column in range(wanted):
        last = first + column
        place = (chance[:, column] * (last + 1)).long()
        taken = (places[:, :column] == place[:, None]).any(1)
        place = torch.where(taken, last, place)
        places[:, column] = torch.where(last < count[:, 0], place, -1)
    return places


def _at(places: Tensor, left: Tensor, others: Tensor) -> Tensor:
    """The rows at places (P, K) of a list: first `left` (P, L), then where `others` holds."""
    if not places.shape[1]:
        return places
    passed = others.cumsum(1, dtype=torch.int32)
    wanted = (places - left.shape[1] + 1).to(torch.int32)
    among_others = torch.searchsorted(passed, wanted).clamp(max=others.shape[1] - 1)
    if not left.shape[1]:
        return among_others
    among_left = left.gather(1, places.clamp(0, left.shape[1] - 1))
    return torch.where(places < left.shape[1], among_left, among_others)


def _widened(table: Tensor, width: int) -> Tensor:
    """The table (P, K) with columns of zeros behind it, (P, width)."""
    return torch.nn.functional.pad(table, (0, width - table.shape[1]))


def build(settings: "TrainSettings") -> PairLoss:
    """The loss with the settings of a run."""
    return RankHardLoss(
        settings.negatives, settings.hard_ratio, settings.rand_ratio, settings.margin
    )
