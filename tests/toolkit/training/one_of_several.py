"""One process of a team: trains a step of each case and leaves what came of it.

Run with a place in its environment, as torchrun gives it, and the folder to write to; or
imported, for `steps_of(ALONE)`, the same on one process.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from toolkit.networks.embedder import NORM_FLOOR, EmbeddingNetwork
from toolkit.training.batches import Batch, Share
from toolkit.training.distributed import joined
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

# backbone, size, loss, pairs (odd: uneven shares), steps, optimizer
CASES = {
    "small rank-hard 4": ("small", 32, "rank-hard", 4, 2, "sgd"),
    "small rank-hard 5": ("small", 32, "rank-hard", 5, 2, "sgd"),
    "small infonce 4": ("small", 32, "infonce", 4, 2, "sgd"),
    "small infonce 5": ("small", 32, "infonce", 5, 2, "sgd"),
    "small infonce 5 adamw": ("small", 32, "infonce", 5, 6, "adamw"),
    "alexnet rank-hard 5": ("alexnet", 67, "rank-hard", 5, 1, "sgd"),
    "alexnet infonce 4": ("alexnet", 67, "infonce", 4, 1, "sgd"),
}

# loss, pairs, seed: those whose ReLUs and hinges all lie further from 0 than rounding moves any.
FLOAT32 = {
    "infonce 4": ("infonce", 4, 2),
    "infonce 5": ("infonce", 5, 45),
    "rank-hard 4": ("rank-hard", 4, 2),
    "rank-hard 5": ("rank-hard", 5, 45),
}


class Precise(EmbeddingNetwork):
    """In float64: so that what differs is a mistake, and not a ReLU that rounding turned."""

    def embed_input(self, x: Tensor) -> Tensor:
        features: Tensor = self.backbone(x)
        return features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)


def steps_of(team, device="cpu"):
    """A GPU draws other masks of dropout than a processor: there it is switched off."""
    return {name: _case(team, device, *case) for name, case in CASES.items()}


def _case(team, device, backbone, size, loss, pairs, steps, optimizer):
    settings = TrainSettings(
        backbone=backbone, size=size, dim=16, loss=loss, batch_pairs=pairs, precision="fp32",
        optimizer=optimizer, hard_after=0.0, rate=0.01, ema=0.9,
    )  # fmt: skip
    torch.manual_seed(team.rank)  # the first process's weights are everybody's
    network = Precise(backbone, settings.preprocessing, 16).double()
    if backbone == "alexnet":  # as published, its first gradients all but vanish
        for parameter in network.parameters():
            parameter.data.mul_(5 if parameter.ndim > 1 else 0)
    trainer = Trainer(network, settings, device, team)
    if device == "cuda":
        without_dropout(network)
    losses = [
        float(trainer.step(step, batch(step, size, pairs, team.share)).loss)
        for step in range(steps)
    ]
    return {
        "losses": losses,
        "gradients": {name: _some(p.grad) for name, p in network.named_parameters()},
        "state": {
            f"{kind}.{name}": _some(tensor)
            for kind, found in (("newest", network), ("average", trainer.result))
            for name, tensor in found.state_dict().items()
        },
    }


def gradients_of(team, loss, pairs, seed, precision="float32"):
    """Of one step of the small network, without augmentation."""
    settings = TrainSettings(
        size=16, dim=16, loss=loss, batch_pairs=pairs, precision="fp32", hard_after=0.0,
        augment=False, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    if precision == "float64":
        network = Precise("small", settings.preprocessing, 16).double()
    else:
        network = EmbeddingNetwork("small", settings.preprocessing, 16)
    trainer = Trainer(network, settings, "cpu", team)
    trainer.step(0, batch(seed, 16, pairs, team.share))
    return {name: p.grad.double() for name, p in network.named_parameters()}


def without_dropout(network):
    for layer in network.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0


def _some(tensor):
    """All of a small tensor, and of a large one what is spread over it."""
    tensor = tensor.cpu()
    return tensor if tensor.numel() < 20_000 else tensor.flatten()[::37].clone()


def batch(step, size, pairs, share: Share) -> Batch:
    draws = torch.Generator().manual_seed(step)
    coarse = torch.rand(pairs, 3, 5, 5, generator=draws).repeat_interleave(2, 0)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    noisy = (255 * smooth + 20 * torch.randn(smooth.shape, generator=draws)).clamp(0, 255)
    images = noisy.byte().permute(0, 2, 3, 1).contiguous()
    labels = torch.arange(pairs).repeat_interleave(2)
    own = share.of(pairs)
    negatives = labels[::2, None] != labels[None]
    negatives &= torch.rand(negatives.shape, generator=draws) < 0.8  # the rest is unknown
    rows = slice(2 * own.start, 2 * own.stop)
    return Batch(images[rows], labels, negatives, first_row=rows.start)


def _votes(team):
    """At which of its calls each process hears that the last one wants to stop."""
    answers = [team.stop_asked(team.rank == team.world - 1 and call >= 2) for call in range(6)]
    return answers.index(True)


def _gathered(team, pairs, device):
    own = team.share.of(pairs)
    local = torch.arange(2.0 * pairs)[2 * own.start : 2 * own.stop, None].repeat(1, 3)
    local = local.to(device).requires_grad_()
    rows = team.gather_rows(local, 2 * pairs)
    (rows * torch.arange(1.0, 2 * pairs + 1, device=device)[:, None]).sum().backward()
    return rows.detach().cpu(), local.grad.cpu()


if __name__ == "__main__":
    torch.set_num_threads(1)
    device = sys.argv[2]
    with joined(device) as team:
        found = {
            "steps": steps_of(team, device),
            "vote": _votes(team),
            "gathered": {pairs: _gathered(team, pairs, device) for pairs in (2, 3, 5, 8)},
            "float32": {},
        }
        if device == "cpu":
            found["float32"] = {name: gradients_of(team, *case) for name, case in FLOAT32.items()}
    torch.save(found, Path(sys.argv[1]) / f"{team.rank}.pt")
