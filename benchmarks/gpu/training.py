"""The training step on one GPU and on all of a machine's. One call, no data needed.

Prints Markdown: whether the gradient of all GPUs together is that of one on the whole batch, and
how many patches a second the step takes in fp32, in bf16 and compiled. `--device cpu` tries
the script itself on the processor (with --quick, in a minute).
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import describe

from toolkit.device import resolve_device
from toolkit.errors import MissingError
from toolkit.networks.embedder import NORM_FLOOR, EmbeddingNetwork
from toolkit.training.batches import Batch, Share
from toolkit.training.distributed import ALONE, Team, joined
from toolkit.training.launch import launch
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

COMPUTING = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16, compiled": {"precision": "bf16", "compile": True},
}


@dataclass(frozen=True)
class Case:
    """A network at an input size, and the pairs of a batch for each process."""

    backbone: str
    size: int
    pairs: int
    loss: str

    @property
    def has_norm(self) -> bool:
        return self.backbone != "alexnet"

    def settings(self, world: int, **changes: object) -> TrainSettings:
        return TrainSettings.from_recipe(
            "modern",
            {
                "backbone": self.backbone,
                "size": self.size,
                "batch_pairs": self.pairs * world,
                "loss": self.loss,
                **changes,
            },
        )


CASES = (
    Case("alexnet", 227, 50, "rank-hard"),
    Case("alexnet", 227, 256, "rank-hard"),
    Case("small", 96, 96, "infonce"),
    Case("small", 96, 512, "infonce"),
    Case("resnet50", 224, 64, "infonce"),
)
QUICK = (Case("alexnet", 67, 4, "rank-hard"), Case("small", 32, 5, "infonce"))


def main() -> int:
    """Measure and print; exit code 6 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--gpus", type=int, default=0, help="processes; 0 for all GPUs")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="small pictures, few of them")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        return measure_as_member(options)
    try:
        resolve_device(options.device)
    except MissingError as error:
        print(f"Nothing was measured. {error}")
        return error.exit_code
    print(f"{_machine(options.device)}\n")
    print_speeds(ALONE, options)
    count = options.gpus or (torch.cuda.device_count() if options.device == "cuda" else 1)
    if count < 2:
        print("\nWith one process there is no gradient to compare.")
        return 0
    sys.stdout.flush()
    return launch(count, "training", [*sys.argv[1:], "--member"])


def measure_as_member(options: argparse.Namespace) -> int:
    """One of several processes: the same step, computed together."""
    with joined(options.device) as team:
        if team.leads:
            print("\n| network | loss | pairs | largest difference of the gradients (float64) |")
            print("|---|---|---|---|")
        for case in QUICK:
            for uneven in (0, 1):
                print_gradients(team, case, options.device, uneven)
        print_speeds(team, options)
    return 0


def print_gradients(team: Team, case: Case, device: str, more: int) -> None:
    """The gradient of all processes against that of the first alone on the whole batch.

    more: pairs beyond equal shares, so that shares are uneven.
    """
    settings = case.settings(team.world, precision="fp32", augment=False, optimizer="sgd")
    settings = settings.changed(batch_pairs=settings.batch_pairs + more)
    together = _gradients(team, settings, device)
    alone = _gradients(ALONE, settings, device)
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    apart = max(float((together[name] - alone[name]).abs().max()) for name in alone)
    if team.leads:
        said = f"{apart / largest:.1e} of the largest entry"
        print(f"| {case.backbone} {case.size} | {case.loss} | {settings.batch_pairs} | {said} |")


class Precise(EmbeddingNetwork):
    """In float64: in fp32 a ReLU that rounding turns outweighs what is to be seen."""

    def embed_input(self, x: Tensor) -> Tensor:
        features: Tensor = self.backbone(x)
        return features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)


def _gradients(team: Team, settings: TrainSettings, device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = Precise(settings.backbone, settings.preprocessing, settings.embedding_dim).double()
    trainer = Trainer(network, settings, device, team)
    for layer in trainer.network.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0  # on a GPU other numbers of processes draw other masks
    trainer.step(0, _batch(settings, team.share))
    return {
        name: parameter.grad.cpu()
        for name, parameter in trainer.network.named_parameters()
        if parameter.grad is not None
    }


def print_speeds(team: Team, options: argparse.Namespace) -> None:
    """Patches a second of the whole step, augmentation included, from memory."""
    if team.leads:
        print(f"\n| network | loss | pairs | {' | '.join(COMPUTING)} |")
        print("|---|---|---|" + "---|" * len(COMPUTING))
    for case in QUICK if options.quick else CASES:
        speeds = [_speed(team, case, changes, options) for changes in COMPUTING.values()]
        if team.leads:
            cells = " | ".join("" if speed is None else f"{speed:.0f}/s" for speed in speeds)
            pairs = f"{team.world} x {case.pairs}"
            print(f"| {case.backbone} {case.size} | {case.loss} | {pairs} | {cells} |", flush=True)


def _speed(
    team: Team, case: Case, changes: dict[str, object], options: argparse.Namespace
) -> float | None:
    # BatchNorm over several processes is not compiled (toolkit.training.union).
    if changes.get("compile") and (options.no_compile or (team.world > 1 and case.has_norm)):
        return None
    settings = case.settings(team.world, **changes)
    trainer = _trainer(team, settings, options.device)
    batch = _batch(settings, team.share)
    for step in range(5):  # compiling, choosing kernels, filling the allocator
        trainer.step(step, batch)
    _synchronise(options.device)
    team.wait()
    begun = time.perf_counter()
    for step in range(options.steps):
        trainer.step(step, batch)
    _synchronise(options.device)
    team.wait()
    return 2 * settings.batch_pairs * options.steps / (time.perf_counter() - begun)


def _trainer(team: Team, settings: TrainSettings, device: str) -> Trainer:
    torch.manual_seed(0)
    network = EmbeddingNetwork(settings.backbone, settings.preprocessing, settings.embedding_dim)
    return Trainer(network, settings, device, team)


def _batch(settings: TrainSettings, share: Share) -> Batch:
    pairs, size = settings.batch_pairs, settings.preprocessing.height
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * pairs, size, size, 3), dtype=torch.uint8, generator=draws)
    labels = torch.arange(pairs).repeat_interleave(2)
    own = share.of(pairs)
    rows = slice(2 * own.start, 2 * own.stop)
    return Batch(images[rows], labels, labels[::2, None] != labels[None], first_row=rows.start)


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _machine(device: str) -> str:
    if device == "cpu":
        return describe()
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    lines = describe().replace(", no GPU used", "")
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return f"{lines}\n- GPUs: {', '.join(names)}; CUDA {torch.version.cuda}, NCCL {nccl}"


if __name__ == "__main__":
    sys.exit(main())
