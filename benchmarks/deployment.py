"""What an export is worth on a processor: speed by runtime, int8, one dense pass, cold start.

    python benchmarks/deployment.py                        # all of it; about 20 minutes on 2 cores
    python benchmarks/deployment.py --only speed,dense
    python benchmarks/deployment.py --run runs/latest      # judges int8 on this run, not on its own

Part "speed": networks of random weights, embedding pictures of noise. The ways take turns, with
a short rest between them in which the threads of the one before fall asleep; a ratio is the
median over the turns of torch's time over a way's time in the same turn. "model.onnx" is the
bundle's file in plain ONNX Runtime, as any program opens it; "vr" is `OnnxEmbedder`. A float16
graph is not timed: processors without float16 arithmetic compute it in float32, with casts.

Part "int8": AlexNet trained for a few steps on the pairs of vtest.avi, exported to int8 with its
gate, on held-out patches. Part "dense": a 1080p picture, all windows in one pass and one by one.
Part "cold": `cold_start.py`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from machine import describe
from numpy.typing import NDArray
from training_speed import mined

from deploy.bundle import PROOF_NAME, Bundle
from deploy.from_run import Watch, export_run
from deploy.precision import Calibration
from deploy.proof.proof_set import make_proof, write_proof
from deploy.runtimes.dense import DenseEmbedder
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.session import SessionSettings
from deploy.settings import ExportSettings
from deploy.writing import write_graphs
from toolkit.embedding_torch import TorchEmbedder
from toolkit.images import resize
from toolkit.model_card import ModelCard
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.training.loop import train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings

PARTS = ("speed", "int8", "dense", "cold")
BACKBONES = ("alexnet", "small", "resnet18")
BATCHES = (1, 32)
REST_S = 0.05
HD = (1080, 1920)

Pictures = NDArray[np.uint8]
Way = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--run", type=Path, help="the run that int8 is judged on")
    parser.add_argument("--patches", type=Path, help="its shards, if they were moved")
    parser.add_argument("--video", type=Path, help="vtest.avi, where it is not to be fetched")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a try: few turns, small pictures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.turns = 2 if options.quick else options.turns
    print(f"{describe()}\n- threads: {options.threads}; turns: {options.turns}")
    parts = {"speed": print_speeds, "int8": print_int8, "dense": print_dense, "cold": print_cold}
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            parts[name](options, Path(folder))


def print_speeds(options: argparse.Namespace, folder: Path) -> None:
    """Milliseconds of torch, and how many times faster the others are."""
    names = ["torch, channels_last", "model.onnx", "vr fp32", "model.onnx int8", "vr int8"]
    print(f"\n| network | batch | torch ms | {' | '.join(f'{n} / it' for n in names)} |")
    print("|---|---|---|" + "---|" * len(names))
    for backbone in BACKBONES[:1] if options.quick else BACKBONES:
        network, card = random_network(backbone, folder / backbone)
        fp32, int8 = (
            write_bundle(network, card, folder / f"{backbone}-{precision}", precision)
            for precision in ("fp32", "int8")
        )
        for batch in BATCHES:
            images = noise(batch, card)
            ways = {
                "torch": eager(network, card, images),
                names[0]: channels_last(folder / backbone, images),
                names[1]: plain(fp32, images, options.threads),
                names[2]: embedding(OnnxEmbedder(fp32, "cpu", options.threads), images),
                names[3]: plain(int8, images, options.threads),
                names[4]: embedding(OnnxEmbedder(int8, "cpu", options.threads), images),
            }
            seconds = in_turns(ways, options.turns)
            cells = [f"{1000 * median(seconds['torch']):.1f}"]
            cells += [f"{ratio(seconds, 'torch', name):.2f}" for name in names]
            print(f"| {backbone} | {batch} | {' | '.join(cells)} |", flush=True)


def random_network(backbone: str, folder: Path) -> tuple[EmbeddingNetwork, ModelCard]:
    """A network of random weights in its default form, saved as a run."""
    torch.manual_seed(0)
    defaults = backbone_defaults(backbone)
    network = EmbeddingNetwork(
        backbone, defaults.preprocessing, defaults.dim, mean_image=defaults.mean_image
    ).eval()
    return network, save_model(network, folder, {"run": "benchmark", "step": 0})


def noise(count: int, card: ModelCard) -> Pictures:
    """Pictures of the network's size."""
    spec = card.preprocessing
    shape = (count, spec.height, spec.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write_bundle(
    network: EmbeddingNetwork,
    card: ModelCard,
    folder: Path,
    precision: str,
    *,
    dense: bool = False,
) -> Bundle:
    """A bundle without a gate: random weights retrieve nothing that could get lost."""
    folder.mkdir(parents=True)
    images = noise(64, card)
    reference = TorchEmbedder(network, card, "cpu")
    write_proof(make_proof(reference, images[:2], images[:2]), card, folder / PROOF_NAME)
    settings = ExportSettings(precision, dense=dense)
    return write_graphs(folder, (network, card), settings, Calibration.of(images))


def eager(network: EmbeddingNetwork, card: ModelCard, images: Pictures) -> Way:
    """As TorchEmbedder runs it."""
    embedder = TorchEmbedder(network, card, "cpu")
    return lambda: embedder.embed(images)


def channels_last(run: Path, images: Pictures) -> Way:
    """The same with the layout that torch's own notes advise for convolutions."""
    network, card = load_model(run)
    return eager(network.eval().to(memory_format=torch.channels_last), card, images)


def plain(bundle: Bundle, images: Pictures, threads: int) -> Way:
    """The bundle's file with ONNX Runtime's own settings, but for the threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(bundle.onnx), options, providers=providers)
    return lambda: session.run(["embeddings"], {"images": images})


def embedding(embedder: OnnxEmbedder, images: Pictures) -> Way:
    """One call of an embedder."""
    return lambda: embedder.embed(images)


def in_turns(ways: Mapping[str, Way], turns: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn; the first turn does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            time.sleep(REST_S)
            begun = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster, the median over the turns."""
    return median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def print_int8(options: argparse.Namespace, folder: Path) -> None:
    """The certificate of int8 on real patches, and its speed there."""
    run = options.run or trained(folder / "run", options)
    settings = ExportSettings("int8")
    report = export_run(run, folder / "exported", settings, options.patches, Watch(say))
    parity = report.parity
    network, card = load_model(run)
    images = noise(32, card)
    ways = {
        "torch": eager(network.eval(), card, images),
        "int8": embedding(OnnxEmbedder(report.bundle, "cpu", options.threads), images),
    }
    faster = ratio(in_turns(ways, options.turns), "torch", "int8")
    print("\n| network | patches | R@1 | change | cosine, least | mean | top-10 | torch / int8 |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {card.backbone} {card.preprocessing.height} | {parity.patches} | {parity.recall:.3f} "
        f"| {parity.delta_recall:+.4f} | {parity.cosine_min:.4f} | {parity.cosine_mean:.4f} "
        f"| {parity.topk_overlap:.3f} | {faster:.2f} |"
    )
    method = report.bundle.quantization["method"]
    print(f"\nIts gate was passed; batch 32; the ranges are those of: {method}.")


def trained(folder: Path, options: argparse.Namespace) -> Path:
    """AlexNet after a few steps on vtest.avi: its activations are those of real patches."""
    changes = {
        "backbone": "alexnet",
        "batch_pairs": 16,
        "steps": 2 if options.quick else 100,
        "rate": 1e-4,
    }
    settings = TrainSettings.from_recipe("modern", changes)
    return train(mined(options.video), RunFolder.create(folder, overwrite=False), settings).run


def print_dense(options: argparse.Namespace, folder: Path) -> None:
    """One pass over a large picture beside its windows one by one, in batches of 32."""
    network, card = random_network("alexnet", folder / "run")
    bundle = write_bundle(network, card, folder / "bundle", "fp32", dense=True)
    height, width = (540, 960) if options.quick else HD
    rng = np.random.default_rng(0)
    picture = resize(rng.integers(0, 256, (27, 48, 3), dtype=np.uint8), height, width)
    dense = DenseEmbedder(bundle, SessionSettings("cpu", options.threads))
    single = OnnxEmbedder(bundle, "cpu", options.threads)
    made = dense.embed_windows(picture)
    corners = made.boxes[..., :2].reshape(-1, 2).astype(int)
    side = card.preprocessing

    def one_by_one() -> NDArray[np.float32]:
        crops = [picture[y : y + side.height, x : x + side.width] for x, y in corners]
        return single.embed(np.stack(crops))

    cosines = (one_by_one() * made.vectors.reshape(len(corners), -1)).sum(axis=1)
    ways = {"one by one": one_by_one, "dense": lambda: dense.embed_windows(picture)}
    seconds = in_turns(ways, min(options.turns, 5))
    print("\n| picture | windows | stride px | one by one s | dense s | ratio | least cosine |")
    print("|---|---|---|---|---|---|---|")
    times = " | ".join(f"{median(seconds[name]):.2f}" for name in ways)
    print(
        f"| {width}x{height} | {len(corners)} | {dense.grid.stride} | {times} "
        f"| {ratio(seconds, 'one by one', 'dense'):.1f} | {cosines.min():.5f} |"
    )


def print_cold(options: argparse.Namespace, folder: Path) -> None:  # noqa: ARG001
    """Whole processes."""
    print(flush=True)
    script = str(Path(__file__).with_name("cold_start.py"))
    runs = "2" if options.quick else "15"
    subprocess.run([sys.executable, script, "--runs", runs], check=True)


def say(text: str) -> None:
    """To people."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
