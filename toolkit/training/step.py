"""One training step: from a batch of uint8 patches to changed weights."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.losses import InfoNceLoss, RankHardLoss
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.augment import augment, mirror
from toolkit.training.batches import Batch
from toolkit.training.schedule import negative_ratios_at, rate_at
from toolkit.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step saw; tensors stay on the device, so that nothing waits for them."""

    loss: Tensor
    embeddings: Tensor


class TrainingNetwork(nn.Module):
    """Augmented pixels to embeddings: what a step differentiates (and DDP would wrap)."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Float RGB [B, 3, height, width] of 0..255 to float32 [B, dim] of length 1."""
        x = self.network.preprocess.normalise(pixels)
        return self.network.embed_input(x.contiguous(memory_format=torch.channels_last))


class Trainer:
    """The network, its optimizer and its loss; everything random is drawn from (seed, step)."""

    def __init__(self, network: EmbeddingNetwork, settings: TrainSettings, device: str) -> None:
        network.to(device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        self.device = device
        self.model = TrainingNetwork(self.network)
        self.optimizer = _optimizer(network, settings)
        self.loss = _loss(settings)
        self.generator = torch.Generator(device)
        self.autocast = torch.autocast(
            device, torch.bfloat16, enabled=uses_bfloat16(settings.precision, device)
        )

    def step(self, step: int, batch: Batch) -> StepResult:
        """Learn from a batch as step `step` (0-based)."""
        self.generator.manual_seed((self.settings.seed << 32) + step)
        torch.manual_seed((self.settings.seed << 32) + step)
        self._set_schedule(step)
        self.model.train()
        pixels = batch.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        change = augment if self.settings.augment else mirror
        changed = change(pixels, self.generator)
        with self.autocast:
            embeddings = self.model(changed)
        labels = batch.labels.to(self.device, non_blocking=True)
        negatives = batch.negatives.to(self.device) if self.settings.known_negatives else None
        loss = self.loss(embeddings, labels, self.generator, negatives)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return StepResult(loss.detach(), embeddings.detach())

    def _set_schedule(self, step: int) -> None:
        rate = rate_at(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        if isinstance(self.loss, RankHardLoss):
            self.loss.hard_ratio, self.loss.rand_ratio = negative_ratios_at(step, self.settings)


def uses_bfloat16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: as asked, or where the processor is built for it."""
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _loss(settings: TrainSettings) -> nn.Module:
    if settings.loss == "infonce":
        return InfoNceLoss(settings.temperature)
    return RankHardLoss(
        settings.negatives, settings.hard_ratio, settings.rand_ratio, settings.margin
    )


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW, or the paper's SGD with doubled and undecayed rates for biases."""
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    vectors = [p for _, p in named if p.ndim < 2]
    matrices = [p for _, p in named if p.ndim >= 2]

    def group(parameters: Iterable[nn.Parameter], decay: float, factor: float) -> dict[str, object]:
        return {"params": list(parameters), "weight_decay": decay, "rate_factor": factor}

    if settings.optimizer == "sgd":
        groups = [group(matrices, settings.weight_decay, 1.0), group(vectors, 0.0, 2.0)]
        return torch.optim.SGD(groups, lr=settings.rate, momentum=0.9)
    groups = [group(matrices, settings.weight_decay, 1.0), group(vectors, 0.0, 1.0)]
    return torch.optim.AdamW(groups, lr=settings.rate)
