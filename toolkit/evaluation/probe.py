"""The linear probe: multinomial logistic regression on frozen features.

Minimised is the sum of the cross entropies plus |W|^2 / (2 C), the biases free, by L-BFGS. How
strong the penalty is (C) is chosen on the labels that it may see, by cross-validation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
UNCHOSEN = 10.0  # where no class has two labels, nothing can be compared
_FOLDS = 3
_MOST_COMPARED = 2000  # labels on which strengths are compared
_MOST_CLASSES = 100  # among which they are
_ITERATIONS = range(15, 301)  # the least and the most; large problems get fewer
_MOST_PRODUCTS = 1 << 38  # of all iterations
_MEMORY = 10  # steps that L-BFGS looks back
_WORTH_THREADS = 1 << 26  # products of a pass over the features
_FLAT = 1e-5  # the greatest slope of the mean loss at which it is done
_MOST_DOUBLES = 1 << 29  # products of a pass over the features: beyond that float32 has to do


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """weights: float32 (classes, D); biases: float32 (classes,); strength: the C it was fit at."""

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    strength: float

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (N, D) to scores, whose softmax is the probability of a class: (N, classes)."""
        scores: NDArray[np.float32] = features @ self.weights.T + self.biases
        return scores

    def classes(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of the highest score, the first of equals: int64 (N,)."""
        return np.asarray(self.scores(features).argmax(1), np.int64)


def choose_strength(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64],
) -> float:
    """The C of most right answers over three folds, of equals the nearest to UNCHOSEN.

    groups: (N,); what is of one stays in one fold, or copies would vouch for each other. Of many
    classes those with most labels are compared, and of many labels some.
    """
    most = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")[:_MOST_CLASSES]
    rows = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(labels, most)))
    rows = rows[:_MOST_COMPARED]
    features, labels = features[rows], np.unique(labels[rows], return_inverse=True)[1]
    classes = int(labels.max()) + 1
    folds = _folds(labels, groups[rows])
    if not folds.any():
        return UNCHOSEN
    right = dict.fromkeys(STRENGTHS, 0)
    for fold in range(_FOLDS):
        apart = folds == fold
        before = None
        for strength in STRENGTHS:
            before = fit_probe(features[~apart], labels[~apart], classes, strength, before)
            right[strength] += int((before.classes(features[apart]) == labels[apart]).sum())
    return max(STRENGTHS, key=lambda strength: (right[strength], -abs(log(strength / UNCHOSEN))))


def _folds(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each label: the groups of a class take turns, in the order they come in."""
    first, which = np.unique(groups, return_index=True, return_inverse=True)[1:]
    order = np.lexsort((first, labels[first]))
    ordered = labels[first][order]
    turns = np.empty(len(first), np.int64)
    turns[order] = (np.arange(len(first)) - np.searchsorted(ordered, ordered)) % _FOLDS
    return turns[which]


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    strength: float = UNCHOSEN,
    before: LinearProbe | None = None,
) -> LinearProbe:
    """Fit on features (N, D) of labels (N,), N at least 1.

    strength: C; before: a probe of the same classes, from which the search begins.
    """
    import torch

    products = features.size * classes
    kind = torch.float64 if products <= _MOST_DOUBLES else torch.float32
    x, y = torch.from_numpy(np.ascontiguousarray(features)).to(kind), torch.from_numpy(labels)
    # The biases take up the mean, so the minimum is the same, and it is found much sooner.
    mean = x.mean(0)
    x = x - mean
    weights = torch.zeros(classes, x.shape[1], dtype=kind)
    biases = torch.zeros(classes, dtype=kind)
    if before is not None:
        weights.copy_(torch.from_numpy(before.weights))
        biases.copy_(torch.from_numpy(before.biases) + weights @ mean)
    unknowns = [weights.requires_grad_(), biases.requires_grad_()]
    penalty = 1 / (2 * strength * len(labels))

    def loss() -> "Tensor":
        value = torch.nn.functional.cross_entropy(torch.addmm(biases, x, weights.T), y)
        return value + penalty * weights.square().sum()

    iterations = int(np.clip(_MOST_PRODUCTS // products, min(_ITERATIONS), max(_ITERATIONS)))
    with _few_threads(products):
        _minimise(unknowns, loss, iterations)
        found = weights.detach(), biases.detach() - weights.detach() @ mean
    return LinearProbe(found[0].float().numpy(), found[1].float().numpy(), strength)


def _minimise(unknowns: "list[Tensor]", loss: "Callable[[], Tensor]", iterations: int) -> None:
    import torch

    search = torch.optim.LBFGS(
        unknowns,
        max_iter=iterations,
        history_size=_MEMORY,
        tolerance_grad=_FLAT,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> "Tensor":
        search.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(closure)  # type: ignore[no-untyped-call]


@contextmanager
def _few_threads(products: int) -> Iterator[None]:
    """One thread for what is small: to wake the others takes longer than the work itself."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < _WORTH_THREADS else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
