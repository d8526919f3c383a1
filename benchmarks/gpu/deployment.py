"""Embedding on an NVIDIA GPU, by runtime. One call, no data needed.

Prints Markdown: embeddings a second at batch 1, 32 and 256, and the part of the roofline that is
reached, for torch, torch.compile in bf16, ONNX Runtime and TensorRT in fp16 and int8, for
networks of random weights. Every way takes uint8 pictures from the memory of the host and leaves
vectors there, so that the copies count for all alike; the ways take turns.

The roofline is the time that no program could beat: the network's arithmetic at the card's peak
for the precision, or the weights, the pictures and the vectors once through its memory,
whichever takes longer. The peak is the number of SMs times the greatest clock, both as the
driver says, times what an SM does in a clock (NVIDIA's white papers; only data-centre cards are
in the table, others show no part). torch's fp32 row may be above what fp32 allows where torch is
set to use TF32.

What is not installed is named under the tables. `--device cpu --quick` tries the script itself.
"""

import argparse
import ctypes
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from deployment import noise, random_network, write_bundle
from machine import describe

from deploy.bundle import Bundle
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.tensorrt import TensorRtEmbedder
from deploy.tensorrt import EngineSettings, Profile, build_engines
from toolkit.device import resolve_device
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import MissingError, VrError
from toolkit.machine.cuda import list_gpus
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model

BACKBONES = ("alexnet", "resnet18", "resnet50", "small")
BATCHES = (1, 32, 256)
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}

# Operations an SM of a data-centre card does in a clock, dense, two for a multiplication with its
# addition: (fp32 without tensor cores, fp16 and bf16 with them). int8 is twice the second.
PER_CLOCK = {"sm75": (128, 1024), "sm80": (128, 2048), "sm90": (256, 4096), "sm100": (256, 8192)}
# cuda.h: CUdevice_attribute
CLOCK_KHZ, SMS, MEMORY_CLOCK_KHZ, BUS_BITS = 13, 16, 36, 37

Pictures = NDArray[np.uint8]
Embed = Callable[[Pictures], object]


@dataclass(frozen=True)
class Card:
    """What the roofline is made of: operations a second by precision, bytes a second."""

    peak: dict[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Work:
    """A network's operations and weights."""

    flops: int
    weights: int

    def least_s(self, images: Pictures, dim: int, precision: str, card: Card) -> float:
        """The time of the roofline for a batch."""
        moved = self.weights * BYTES[precision] + images.nbytes + 4 * dim * len(images)
        return max(self.flops * len(images) / card.peak[precision], moved / card.bandwidth)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--quick", action="store_true", help="one small network, 2 turns")
    options = parser.parse_args()
    try:
        device = str(resolve_device(options.device))
    except MissingError as error:
        print(f"{error.problem} {error.mend}", file=sys.stderr)
        return error.exit_code
    if options.quick:
        options.turns, options.backbones, options.no_compile = 2, "small", device == "cpu"
    card = _card() if device.startswith("cuda") else None
    print(_machine(device, card))
    print("\n| network | batch | runtime | embeddings/s | over torch | roofline |")
    print("|---|---|---|---|---|---|")
    absent: dict[str, str] = {}
    for backbone in options.backbones.split(","):
        with tempfile.TemporaryDirectory() as folder:
            measure(backbone, Path(folder), options, card, absent)
    for name, reason in absent.items():
        print(f"\nNot measured: {name}: {reason}")
    return 0


def measure(
    backbone: str,
    folder: Path,
    options: argparse.Namespace,
    card: Card | None,
    absent: dict[str, str],
) -> None:
    """The rows of one network."""
    network, model_card = random_network(backbone, folder / "run")
    images = noise(max(BATCHES), model_card)
    work = count_work(network, images[:1])
    ways = open_ways(folder, network, model_card, options, absent)
    for batch in BATCHES:
        seconds = in_turns({name: way for name, (way, _) in ways.items()}, images[:batch], options)
        for name, (_, precision) in ways.items():
            ratio = median(a / b for a, b in zip(seconds["torch"], seconds[name], strict=True))
            part = ""
            if card is not None:
                least = work.least_s(images[:batch], model_card.dim, precision, card)
                part = f"{100 * least / median(seconds[name]):.1f} %"
            rate = batch / median(seconds[name])
            print(f"| {backbone} | {batch} | {name} | {rate:.0f} | {ratio:.2f} | {part} |")
        sys.stdout.flush()


def open_ways(
    folder: Path,
    network: EmbeddingNetwork,
    card: ModelCard,
    options: argparse.Namespace,
    absent: dict[str, str],
) -> dict[str, tuple[Embed, str]]:
    """Name to what embeds, and the precision that its roofline is for."""
    device = options.device
    bundles = {
        precision: write_bundle(network, card, folder / precision, precision)
        for precision in ("fp32", "fp16", "int8")
    }
    ways: dict[str, tuple[Embed, str]] = {
        "torch": (TorchEmbedder(load_model(folder / "run")[0], card, device).embed, "fp32")
    }
    ways["torch bf16"] = (autocast(folder, device, compiled=False), "bf16")
    if not options.no_compile:
        ways["torch.compile bf16"] = (autocast(folder, device, compiled=True), "bf16")
    for runtime, opened in (("ONNX Runtime", _open_onnx), ("TensorRT", _open_tensorrt)):
        for precision, bundle in bundles.items():
            name = f"{runtime} {precision}"
            try:
                ways[name] = (opened(bundle, device), precision)
            except VrError as error:
                absent[name] = error.problem
    return ways


def autocast(folder: Path, device: str, *, compiled: bool) -> Embed:
    """The network in bf16, channels_last; compiled where asked."""
    network = load_model(folder / "run")[0].eval().to(device, memory_format=torch.channels_last)
    forward: Any = torch.compile(network, dynamic=False) if compiled else network

    def embed(images: Pictures) -> object:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            return forward(torch.from_numpy(images).to(device)).cpu().numpy()

    return embed


def _open_onnx(bundle: Bundle, device: str) -> Embed:
    return OnnxEmbedder(bundle, device).embed


def _open_tensorrt(bundle: Bundle, device: str) -> Embed:  # noqa: ARG001
    build_engines(bundle, EngineSettings(profiles=(Profile(1, 32, 256),)))
    return TensorRtEmbedder(bundle).embed


def in_turns(
    ways: dict[str, Embed], images: Pictures, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of each way in each turn, behind turns that do not count: kernels are chosen."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    warm = 1 if options.quick else 5
    for turn in range(warm + options.turns):
        for name, embed in ways.items():
            begun = time.perf_counter()
            embed(images)
            if turn >= warm:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def count_work(network: EmbeddingNetwork, image: Pictures) -> Work:
    """Operations of one picture, convolutions and matrix products, and the weights."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.from_numpy(image))
    return Work(counter.get_total_flops(), sum(p.numel() for p in network.parameters()))


def _card() -> Card | None:
    """The first GPU; None where what its SMs do in a clock is not in the table."""
    sm = list_gpus()[0].sm
    if sm not in PER_CLOCK:
        return None
    plain, tensor = PER_CLOCK[sm]
    clocks = _attribute(SMS) * _attribute(CLOCK_KHZ) * 1e3
    half = clocks * tensor
    peak = {"fp32": clocks * plain, "bf16": half, "fp16": half, "int8": 2 * half}
    # Two transfers a clock on each line of the bus.
    return Card(peak, 2 * _attribute(MEMORY_CLOCK_KHZ) * 1e3 * _attribute(BUS_BITS) / 8)


def _attribute(which: int) -> int:
    driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    device, value = ctypes.c_int(), ctypes.c_int()
    for status in (
        driver.cuInit(0),
        driver.cuDeviceGet(ctypes.byref(device), 0),
        driver.cuDeviceGetAttribute(ctypes.byref(value), which, device),
    ):
        if status != 0:
            raise RuntimeError(f"the CUDA driver fails with status {status}")
    return value.value


def _machine(device: str, card: Card | None) -> str:
    if not device.startswith("cuda"):
        return describe()
    gpu = list_gpus()[0]
    lines = [describe().replace(", no GPU used", ""), f"- GPU: {gpu.name}, {gpu.sm}"]
    if card is not None:
        peak = ", ".join(f"{name} {value / 1e12:.0f}" for name, value in card.peak.items())
        lines.append(f"- peak, TFLOP/s: {peak}; memory {card.bandwidth / 1e9:.0f} GB/s")
    return "\n".join([*lines, f"- CUDA of torch: {torch.version.cuda}, driver's: {gpu.driver}"])


if __name__ == "__main__":
    sys.exit(main())
