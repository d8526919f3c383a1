"""The rank-hard loss: against a literal loop over rows, and as a part of the AlexNet step.

Forward and backward, float32, embeddings of 1,024 numbers that all violate the margin, the
number of threads that torch chooses. Losses and loop take turns. The loop is the published
layer written row by row, on embeddings taken apart once so that no row is copied; where all
its anchors would take too long, it is timed on the first ones, and as its work is the same for
each, scaled to all. The AlexNet step is that of wang2015, measured at 100 patches; as the
network's work is proportional to the patches, it is scaled to the larger batches.

    python benchmarks/rank_hard.py
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from machine import describe
from torch import Tensor

from toolkit.losses.rank_hard import RankHardLoss
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.batches import Batch
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

DIM = 1024
# Patches, runs of the loss between two runs of the loop, anchors of the loop.
CASES = ((100, 20, 50), (512, 10, 256), (4096, 3, 64))
STEP_PATCHES = 100


def main() -> None:
    """Measure and print."""
    print(describe(), end="\n\n")
    print(f"{torch.get_num_threads()} threads.\n")
    step_ms = alexnet_step_ms(STEP_PATCHES)
    head = ["patches", "loss, ms", "literal loop, ms", "loop / loss", "AlexNet step, ms"]
    head += ["loss / step"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for patches, runs, anchors in CASES:
        embeddings = torch.nn.functional.normalize(torch.randn(patches, DIM), dim=1)
        labels = torch.arange(patches // 2).repeat_interleave(2)
        loss, loop = in_turns(embeddings, labels, runs, anchors)
        step = step_ms * patches / STEP_PATCHES
        all_anchors, real_step = 2 * anchors == patches, patches == STEP_PATCHES
        cells = [f"{patches:,}", f"{loss:.2f}", f"{loop:,.0f}{'' if all_anchors else ' (scaled)'}"]
        cells += [f"{loop / loss:,.0f}", f"{step:,.0f}{'' if real_step else ' (scaled)'}"]
        cells += [f"{100 * loss / step:.2f} %"]
        print(f"| {' | '.join(cells)} |", flush=True)


def in_turns(embeddings: Tensor, labels: Tensor, runs: int, anchors: int) -> tuple[float, float]:
    """Milliseconds of the loss, and of the loop over all anchors: medians of three turns."""
    losses, loops = [], []
    vectorised(embeddings, labels)
    for _ in range(3):
        losses += [milliseconds(lambda: vectorised(embeddings, labels)) for _ in range(runs)]
        part = milliseconds(lambda: literal(embeddings, labels, anchors))
        loops.append(part * len(labels) / 2 / anchors)
    return statistics.median(losses), statistics.median(loops)


def vectorised(embeddings: Tensor, labels: Tensor) -> None:
    """Forward and backward of the loss."""
    x = embeddings.clone().requires_grad_()
    RankHardLoss()(x, labels).backward()


def literal(embeddings: Tensor, labels: Tensor, anchors: int) -> None:
    """The same for the first anchors, one anchor and one row at a time."""
    x = embeddings.clone().requires_grad_()
    rows, values = x.unbind(), embeddings.unbind()
    total = x.new_zeros(())
    numbers = labels.tolist()
    for i in range(0, 2 * anchors, 2):
        positive = -(rows[i] @ rows[i + 1])
        for j in chosen(values, numbers, i):
            for row in (rows[i], rows[i + 1]):
                total = total + torch.clamp(positive + row @ rows[j] + 0.5, min=0)
    (total / (4 * len(x))).backward()


def chosen(rows: Sequence[Tensor], numbers: Sequence[int], i: int) -> list[int]:
    """The negatives of anchor i: of the 4 nearest 2, of what is left 2, at random."""
    positive = -(rows[i] @ rows[i + 1]).item()
    candidates = []
    for j in range(len(rows)):
        if numbers[j] == numbers[i]:
            continue
        distance = -(rows[i] @ rows[j]).item()
        if positive - distance + 0.5 > 0:
            candidates.append((distance, j))
    order = [j for _, j in sorted(candidates)]
    if len(order) <= 4:
        return order
    pool = [order[k] for k in torch.randperm(4).tolist()]
    rest = pool[2:] + order[4:]
    return pool[:2] + [rest[k] for k in torch.randperm(len(rest))[:2].tolist()]


def alexnet_step_ms(patches: int) -> float:
    """A whole step of the wang2015 recipe on patches in memory: the median of three."""
    settings = TrainSettings.from_recipe("wang2015", {})
    network = EmbeddingNetwork("alexnet", settings.preprocessing, DIM, mean_image=True)
    trainer = Trainer(network, settings, "cpu")
    images = torch.randint(0, 256, (patches, 227, 227, 3), dtype=torch.uint8)
    labels = torch.arange(patches // 2).repeat_interleave(2)
    batch = Batch(images, labels, torch.ones(patches // 2, patches, dtype=torch.bool))
    trainer.step(0, batch)
    return statistics.median(milliseconds(lambda: trainer.step(0, batch)) for _ in range(3))


def milliseconds(work: Callable[[], object]) -> float:
    """How long it took."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
