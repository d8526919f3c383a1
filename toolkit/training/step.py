"""One training step: from a batch of uint8 patches to changed weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.losses import build_loss
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.augment import Rows, augment, mirror
from toolkit.training.batches import Batch
from toolkit.training.computing import uses_bfloat16
from toolkit.training.distributed import ALONE, Team
from toolkit.training.ema import Ema
from toolkit.training.optimizers import make_optimizer
from toolkit.training.schedule import negative_ratios_at, rate_at
from toolkit.training.settings import TrainSettings
from toolkit.training.union import Place, check_compilable, share_layers


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step saw; tensors stay on the device, so that nothing waits for them.

    loss: a scalar; embeddings: float32 (2P, dim), before the weights changed; pixels: float
    RGB (2L, 3, height, width) of 0..255, this process's own patches as they were shown.
    """

    loss: Tensor
    embeddings: Tensor
    pixels: Tensor


class TrainingNetwork(nn.Module):
    """Augmented pixels to embeddings: what a step differentiates, in one process or several."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Float RGB [B, 3, height, width] of 0..255 to float32 [B, dim] of length 1."""
        x = self.network.preprocess.normalise(pixels)
        return self.network.embed_input(x.contiguous(memory_format=torch.channels_last))


class Trainer:
    """The network, its optimizer and its loss; everything random is drawn from (seed, step).

    team: the processes that compute a step together; each takes its share of the rows.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        settings: TrainSettings,
        device: str,
        team: Team = ALONE,
    ) -> None:
        network.to(device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        self.device = device
        self.team = team
        self.place = Place()
        if team.world > 1:
            share_layers(self.network, self.place)
            if settings.compile:
                check_compilable(self.network)
        # The networks of other packages may have weights that no embedding depends on.
        unused = ":" in settings.backbone
        self.model: Callable[[Tensor], Tensor]
        self.model = team.wrap(TrainingNetwork(self.network), unused=unused)
        if settings.compile:
            # The network itself stays as it is: its weights keep their names.
            self.model = torch.compile(self.model)
        self.optimizer = make_optimizer(self.network, settings)
        self.ema = Ema(self.network, settings.ema) if settings.ema else None
        self.loss = build_loss(settings.loss, settings)
        # Of the CPU: the same draws on every device.
        self.generator = torch.Generator()
        self.loss_generator = torch.Generator()
        self.autocast = torch.autocast(
            device, torch.bfloat16, enabled=uses_bfloat16(settings.precision, device)
        )

    @property
    def result(self) -> EmbeddingNetwork:
        """The network that is measured and saved: the averaged one where there is one."""
        return self.ema.network if self.ema else self.network

    def step(self, step: int, batch: Batch) -> StepResult:
        """Learn from a batch as step `step` (0-based)."""
        seed = (self.settings.seed << 32) + step
        torch.manual_seed(seed)
        self.generator.manual_seed(seed)
        self.loss_generator.manual_seed(seed + (1 << 31))  # not what moves the pictures
        self._set_schedule(step)
        self.network.train()
        total = len(batch.labels)
        self.place.first, self.place.total = batch.first_row, total
        pixels = self._moved(batch.images).permute(0, 3, 1, 2).float()
        changed = self._changed(pixels, Rows(batch.first_row, total))
        with self.autocast:
            local = self.model(changed)
        embeddings = self.team.gather_rows(local, total)
        labels = self._moved(batch.labels)
        loss = self.loss(embeddings, labels, self.loss_generator, self._moved(batch.negatives))
        self.optimizer.zero_grad(set_to_none=True)
        # Averaged over the processes, of which each has the gradient of its own rows.
        (loss * self.team.world).backward()
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.network, step)
        return StepResult(loss.detach(), embeddings.detach(), changed)

    def state(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint keeps of it: model, ema ({} without one) and optimizer."""
        return {
            "model": self.network.state_dict(),
            "ema": self.ema.network.state_dict() if self.ema else {},
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(
        self, model: dict[str, Any], ema: dict[str, Any], optimizer: dict[str, Any]
    ) -> None:
        """The inverse of state()."""
        self.network.load_state_dict(model)
        if self.ema:
            self.ema.network.load_state_dict(ema)
        self.optimizer.load_state_dict(optimizer)

    def _changed(self, pixels: Tensor, rows: Rows) -> Tensor:
        if self.settings.augment:
            return augment(pixels, self.generator, rows, self.settings.turn)
        return mirror(pixels, self.generator, rows)

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device; to a GPU from pinned memory, so that the step need not wait for it."""
        if self.device == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def _set_schedule(self, step: int) -> None:
        rate = rate_at(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self.loss.set_ratios(*negative_ratios_at(step, self.settings))
