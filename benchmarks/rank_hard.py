"""The rank-hard loss: against a literal loop over rows, and as a part of the AlexNet step.

Forward and backward, float32, the number of threads that torch chooses. The literal loop is
the published layer written row by row; the two take turns.
"""

import statistics
import time
from collections.abc import Callable

import torch
from machine import describe
from torch import Tensor

from toolkit.losses import RankHardLoss
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.batches import Batch
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer


def main() -> None:
    """Measure and print."""
    print(describe(), end="\n\n")
    print("| patches | loss, ms | literal loop, ms | loop / loss | AlexNet step, ms | part of it |")
    print("|---|---|---|---|---|---|")
    for patches, loop_runs in ((100, 3), (512, 1)):
        embeddings = torch.nn.functional.normalize(torch.randn(patches, 1024), dim=1)
        labels = torch.arange(patches // 2).repeat_interleave(2)
        loss = median_ms(lambda e=embeddings, y=labels: vectorised(e, y), 20)
        loop = median_ms(lambda e=embeddings, y=labels: literal(e, y), loop_runs)
        step = alexnet_step_ms(patches) if patches == 100 else None
        part = f"{100 * loss / step:.2f} %" if step else "-"
        shown = f"{step:.0f}" if step else "-"
        print(f"| {patches} | {loss:.2f} | {loop:.0f} | {loop / loss:.0f} | {shown} | {part} |")


def vectorised(embeddings: Tensor, labels: Tensor) -> None:
    """Forward and backward of the loss."""
    x = embeddings.clone().requires_grad_()
    RankHardLoss()(x, labels).backward()


def literal(embeddings: Tensor, labels: Tensor) -> None:
    """The same, one anchor, one row at a time."""
    x = embeddings.clone().requires_grad_()
    total = x.new_zeros(())
    numbers = labels.tolist()
    for i in range(0, len(x), 2):
        positive = -(x[i] @ x[i + 1])
        candidates = []
        for j in range(len(x)):
            if numbers[j] != numbers[i] and (positive + x[i] @ x[j] + 0.5).item() > 0:
                candidates.append((-(x[i] @ x[j]).item(), j))
        candidates.sort()
        order = [j for _, j in candidates]
        if len(order) > 4:
            pool = [order[k] for k in torch.randperm(4).tolist()]
            rest = pool[2:] + order[4:]
            order = pool[:2] + [rest[k] for k in torch.randperm(len(rest))[:2].tolist()]
        for j in order:
            for row in (i, i + 1):
                total = total + torch.clamp(positive + x[row] @ x[j] + 0.5, min=0)
    (total / (4 * len(x))).backward()


def alexnet_step_ms(patches: int) -> float:
    """A whole step of the wang2015 recipe on patches in memory."""
    settings = TrainSettings.from_recipe("wang2015", {})
    network = EmbeddingNetwork("alexnet", settings.preprocessing, 1024, mean_image=True)
    trainer = Trainer(network, settings, "cpu")
    images = torch.randint(0, 256, (patches, 227, 227, 3), dtype=torch.uint8)
    labels = torch.arange(patches // 2).repeat_interleave(2)
    batch = Batch(images, labels, torch.ones(patches // 2, patches, dtype=torch.bool))
    return median_ms(lambda: trainer.step(0, batch), 2)


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Milliseconds of the median run, after one that does not count."""
    work()
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)


if __name__ == "__main__":
    main()
