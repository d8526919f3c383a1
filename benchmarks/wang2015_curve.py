"""The loss of 100 steps of the recipe wang2015 on made-up pairs, on the CPU, from a fixed seed.

    python benchmarks/wang2015_curve.py tests/golden/wang2015_curve.json

writes the curve that tests/toolkit/training/test_wang2015.py compares with. Write it again only
for a change of the training that is meant, and say so where you do.

What differs from the recipe is there to make the curve say something within seconds: a small
input, few pairs, the schedule folded into 100 steps, larger weights and biases of 0 to begin
with. With the published ones AlexNet stands at the margin for longer than that, and a curve
would be the same whatever is wrong with the training.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.batches import Batch
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer
from toolkit.workspace import write_json

STEPS = 100
THINGS = 24
CELL = 8  # pixels
GAIN = 5.0  # on the initial weights
SIZE = 67  # pixels; all that is left of them behind pool5 is one
SETTINGS = TrainSettings.from_recipe(
    "wang2015", {"size": SIZE, "dim": 128, "steps": STEPS, "batch_pairs": 6}
)


def new_trainer(settings: TrainSettings = SETTINGS) -> Trainer:
    """AlexNet as the recipe draws it, but for GAIN and biases of 0."""
    torch.manual_seed(settings.seed)
    network = EmbeddingNetwork(
        settings.backbone, settings.preprocessing, settings.embedding_dim, mean_image=True
    )
    network.preprocess.mean.fill_(127.5)
    with torch.no_grad():
        for parameter in network.backbone.parameters():
            parameter.mul_(GAIN if parameter.ndim > 1 else 0.0)
    return Trainer(network, settings, "cpu")


def made_up_batch(step: int, pairs: int = SETTINGS.batch_pairs, size: int = SIZE) -> Batch:
    """Pairs of noisy views of things that are coarse patterns; from integers alone."""
    patterns = np.random.default_rng(0).integers(0, 256, (THINGS, 9, 9, 3))
    random = np.random.default_rng((1, step))
    things = random.permutation(THINGS)[:pairs].repeat(2)
    plain = patterns[things].repeat(CELL, 1).repeat(CELL, 2)[:, :size, :size]
    images = (plain + random.integers(-20, 21, plain.shape)).clip(0, 255).astype(np.uint8)
    negatives = things[0::2, None] != things[None]
    return Batch(
        images=torch.from_numpy(images),
        labels=torch.from_numpy(things),
        negatives=torch.from_numpy(negatives),
        first_row=0,
    )


def curve() -> list[float]:
    """The loss of each step."""
    trainer = new_trainer()
    return [float(trainer.step(step, made_up_batch(step)).loss) for step in range(STEPS)]


def main() -> None:
    """Write the curve as JSON."""
    target = Path(sys.argv[1])
    write_json(target, {"torch": torch.__version__, "loss": curve()})
    print(json.dumps({"written": str(target)}))


if __name__ == "__main__":
    main()
