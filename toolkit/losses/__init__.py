"""Losses over a batch of pairs: rows 2i and 2i+1 are the anchor and the positive of pair i."""

from toolkit.losses.infonce import InfoNceLoss
from toolkit.losses.rank_hard import RankHardLoss

__all__ = ["InfoNceLoss", "RankHardLoss"]
