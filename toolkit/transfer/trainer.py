"""One step of a transfer: from uint8 pictures to a changed classifier."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.embedding import chunks
from toolkit.training.augment import Rows, augment, mirror
from toolkit.training.computing import uses_bfloat16
from toolkit.training.optimizers import make_optimizer
from toolkit.training.schedule import rate_at
from toolkit.transfer.classifier import ClassifierNetwork
from toolkit.transfer.head import Probabilities
from toolkit.transfer.pictures import Images, PictureStore
from toolkit.transfer.settings import FINETUNE, TransferSettings

_CHUNK = 128
_SEEDS = 1 << 32


class TransferTrainer:
    """The classifier and its optimizer; everything random is drawn from (seed, step)."""

    def __init__(
        self, network: ClassifierNetwork, settings: TransferSettings, steps: int, device: str
    ) -> None:
        self.network = network.to(device)
        self.settings = settings
        self.device = device
        self._all = settings.mode == FINETUNE
        self._schedule = settings.schedule(steps)
        self.optimizer = self._make_optimizer()
        self._generator = torch.Generator()  # of the CPU: the same draws on every device
        # The vectors of a frozen network are those that its bundle gives: in float32.
        half = self._all and uses_bfloat16(settings.precision, device)
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=half)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        head = {"params": list(self.network.head.parameters()), "weight_decay": 0.0}
        self.network.requires_grad_(self._all)
        self.network.head.requires_grad_(True)
        if not self._all:
            return torch.optim.AdamW([{**head, "rate_factor": 1.0}], lr=1.0, fused=True)
        optimizer = make_optimizer(self.network.network, self._schedule)
        optimizer.add_param_group({**head, "rate_factor": self.settings.head_factor})
        return optimizer

    def step(self, step: int, images: Images, labels: NDArray[np.int64]) -> Tensor:
        """Learn from a batch as step `step` (0-based); the loss, still on the device."""
        seed = self.settings.seed * _SEEDS + step
        torch.manual_seed(seed)
        self._generator.manual_seed(seed)
        rate = rate_at(step, self._schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        # Neither dropout nor the statistics of a batch: the probe was fit to the vectors as they
        # are used, and what differs from them undoes it before anything is learned.
        self.network.eval()
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
        rows = Rows.of(pixels)
        if self.settings.augment:
            pixels = augment(pixels, self._generator, rows, self.settings.turn)
        else:
            pixels = mirror(pixels, self._generator, rows)
        with self._autocast:
            scores = self.network.scores(pixels).float()
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def probabilities(self, store: PictureStore, rows: NDArray[np.int64]) -> Probabilities:
        """Of the plain pictures of the rows, float32 (R, classes)."""
        self.network.eval()
        found = np.empty((len(rows), len(self.network.classes)), np.float32)
        for part in chunks(len(rows), _CHUNK):
            images = torch.from_numpy(store.take(rows[part])).to(self.device)
            with torch.inference_mode():
                found[part] = self.network(images)[1].cpu().numpy()
        return found

    def state(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint keeps: of a frozen network only the layer that learns."""
        learned = self.network if self._all else self.network.head
        return {"model": learned.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, model: dict[str, Any], optimizer: dict[str, Any] | None = None) -> None:
        """The inverse of state(); without the optimizer to use it, not to go on."""
        (self.network if self._all else self.network.head).load_state_dict(model)
        if optimizer is not None:
            self.optimizer.load_state_dict(optimizer)


def picks(
    rows: NDArray[np.int64], batch: int, seed: int, first: int
) -> Iterator[NDArray[np.int64]]:
    """The rows of each step from `first` (0-based) on, for ever: a new order each epoch.

    What is left over at the end of an epoch is left out of it.
    """
    size = min(batch, len(rows))
    epoch_steps = len(rows) // size
    epoch, place = divmod(first, epoch_steps)
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        for start in range(place, epoch_steps):
            yield order[start * size : (start + 1) * size]
        epoch, place = epoch + 1, 0
