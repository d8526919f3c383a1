"""Whole indexes of synthetic vectors, built by `vr index build`, and a small bundle for them."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
from indexing_measuring import Bench
from numpy.typing import NDArray
from synthetic_vectors import DIM, tracks_of

VR = str(Path(sys.executable).with_name("vr"))
_A_VIDEO = 10_000  # vectors
_RATE = 25
_SIZE = 64


def bundle(bench: Bench) -> Path:
    """The bundle of a small network of random weights whose embeddings have DIM numbers."""
    import torch

    from deploy.export import export_bundle
    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import save_model
    from toolkit.preprocess import Preprocessing

    folder = bench.folder / "exported"
    if not (folder / "model.json").is_file():
        torch.manual_seed(0)
        network = EmbeddingNetwork("small", Preprocessing(_SIZE, _SIZE), DIM).eval()
        save_model(network, bench.folder / "run", {"run": "benchmark", "step": 0})
        noise = np.random.default_rng(0).integers(0, 256, (8, _SIZE, _SIZE, 3), dtype=np.uint8)
        export_bundle(bench.folder / "run", folder, noise, noise)
    return folder


def picture(bench: Bench) -> Path:
    """Something to look for."""
    from toolkit.images import encode_jpeg, resize

    path = bench.folder / "picture.jpg"
    if not path.is_file():
        coarse = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        path.write_bytes(encode_jpeg(resize(coarse, 480, 640)))
    return path


def described(bench: Bench, count: int) -> Path:
    """The .npy of the vectors with a .csv beside it: video, time, box and track of each."""
    bench.vectors(count)
    npy = bench.npy(count)
    rows = npy.with_suffix(".csv")
    if not rows.is_file():
        with rows.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["source", "time_s", "x0", "y0", "x1", "y1", "track"])
            for number, track in enumerate(_tracks(count)):
                video, at = divmod(number, _A_VIDEO)
                box = (number % 32 * 16, number % 24 * 16)
                corners = (*box, box[0] + 128, box[1] + 128)
                name = f"camera-{video % 7}/{video:05}.mp4"
                writer.writerow([name, at / _RATE, *corners, track])
    return npy


def _tracks(count: int) -> list[int]:
    numbers: NDArray[np.int64] = tracks_of(count)
    return numbers.tolist()


def index(bench: Bench, count: int) -> Path:
    """An index of the vectors as a user builds it, made unless it is there."""
    folder = bench.folder / f"index-{count}"
    if not (folder / "catalog.sqlite").is_file():
        command = [VR, "index", "build", str(described(bench, count)), "--index", str(folder)]
        subprocess.run([*command, "--model", str(bundle(bench))], check=True)
    return folder
