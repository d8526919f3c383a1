"""Whole-process time of `vr embed` and `vr search` with one picture, and what it is made of.

WORKSPACE holds a bundle, `exported/`, and an index of its vectors, `index/`; without an
argument one is made in a temporary folder: AlexNet of random weights with embeddings of 4096
numbers, whose model.onnx has 228 MB, indexed with one picture.

"session" is the time from the bundle's folder to an embedder, with the bundle's hashes
computed; "first" that of the first embedding; both in processes of their own, for the plain
way of opening and for the quick one that the two commands take. Everything takes turns, so
that a machine that slows down slows all of it. The files are in the page cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe

VR = str(Path(sys.executable).with_name("vr"))
DIM = 4096
OPEN = """
import sys, time, json
from pathlib import Path
import numpy as np
from deploy.runtimes import open_embedder
begun = time.perf_counter()
embedder = open_embedder(Path("exported"), "onnx", "cpu", quick=sys.argv[1] == "quick")
opened = time.perf_counter()
spec = embedder.card.preprocessing
embedder.embed(np.zeros((1, spec.height, spec.width, 3), np.uint8))
print(json.dumps([opened - begun, time.perf_counter() - opened]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = options.workspace or make_workspace(Path(folder))
        report(workspace.resolve(), options.runs)


def make_workspace(folder: Path) -> Path:
    """A bundle with large weights, a picture, and an index of it."""
    import torch

    from deploy.export import export_bundle
    from toolkit.images import encode_jpeg, resize
    from toolkit.networks.backbones import backbone_defaults
    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import save_model

    torch.manual_seed(0)
    defaults = backbone_defaults("alexnet").preprocessing
    network = EmbeddingNetwork("alexnet", defaults, DIM, mean_image=True).eval()
    save_model(network, folder / "run", {"run": "cold start", "step": 0})
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (2, defaults.height, defaults.width, 3), dtype=np.uint8)
    export_bundle(folder / "run", folder / "exported", patches, patches)
    picture = resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), 480, 640)
    (folder / "picture.jpg").write_bytes(encode_jpeg(picture))
    subprocess.run([VR, "index", "build", "picture.jpg"], cwd=folder, check=True, text=True)
    return folder


def report(workspace: Path, runs: int) -> None:
    """Print a table of medians."""
    picture = _picture(workspace)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "vr --help": [VR, "--help"],
        "open plainly, embed one": [sys.executable, "-c", OPEN, "plain"],
        "open quickly, embed one": [sys.executable, "-c", OPEN, "quick"],
        "vr embed": [VR, "embed", picture, "--json"],
        "vr search": [VR, "search", picture, "--json"],
    }
    seconds, parts = measure(commands, workspace, runs)
    megabytes = (workspace / "exported" / "model.onnx").stat().st_size / 1e6
    print(f"{describe()}\n- model.onnx: {megabytes:.0f} MB\n")
    print(
        "| process | median s | least s | most s | session s | first s |\n|---|---|---|---|---|---|"
    )
    for name, values in seconds.items():
        inside = [f"{statistics.median(column):.3f}" for column in zip(*parts[name], strict=True)]
        inside = inside or ["", ""]
        cells = [statistics.median(values), min(values), max(values)]
        print(f"| `{name}` | " + " | ".join([*(f"{c:.3f}" for c in cells), *inside]) + " |")


def _picture(workspace: Path) -> str:
    made = workspace / "picture.jpg"
    return str(made if made.is_file() else next(workspace.glob("*.jpg")))


def measure(
    commands: dict[str, list[str]], folder: Path, runs: int
) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """Seconds of each process, in turns, after one that does not count; and its own report."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    parts: dict[str, list[list[float]]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            begun = time.perf_counter()
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
                if OPEN in command:
                    parts[name].append(json.loads(done.stdout))
    return seconds, parts


if __name__ == "__main__":
    main()
