"""How far the vectors of windows are from those of the same windows cut out.

    python benchmarks/dense.py BUNDLE VIDEO            # a bundle made with `vr export --dense`
    python benchmarks/dense.py BUNDLE VIDEO --every 8 --windows 400

From one frame every some seconds all windows are embedded in one pass. Some of them are then cut
out and looked for among all windows of all frames, in three ways: as a patch alone (what
model.onnx gives), as a window whose last pixels go on beyond it, and as the window itself with
its true surroundings, which is found by definition and stands for the repeats in a picture.
"found" is the share whose nearest window is the one they were cut from, "near" that overlaps it
by half (IoU).
"""

import argparse
from pathlib import Path

import av
import numpy as np
from machine import describe
from numpy.typing import NDArray

from deploy.bundle import read_bundle
from deploy.runtimes.dense import DenseEmbedder, DenseEmbeddings
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.session import SessionSettings
from toolkit.images import RgbImage


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="a bundle with a dense graph")
    parser.add_argument("video", type=Path, help="footage to take frames of")
    parser.add_argument("--every", type=float, default=8.0, help="seconds from frame to frame")
    parser.add_argument("--windows", type=int, default=400, help="how many to look for")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    dense = DenseEmbedder(bundle, SessionSettings("cpu"))
    single = OnnxEmbedder(bundle, "cpu")
    frames = read_frames(options.video, options.every)
    passes = [dense.embed_windows(frame) for frame in frames]
    vectors = np.concatenate([one.vectors.reshape(-1, bundle.card.dim) for one in passes])
    places = np.concatenate([place(number, one) for number, one in enumerate(passes)])
    count = min(options.windows, len(vectors))
    chosen = np.random.default_rng(0).choice(len(vectors), count, replace=False)
    crops = np.stack([cut(frames, places[row]) for row in chosen])
    print(describe())
    print(f"- {bundle.card.backbone}, {dense.grid}; {len(vectors)} windows of {len(frames)} frames")
    print("\n| query | mean cosine | 1st percentile | found | near |\n|---|---|---|---|---|")
    ways = {
        "patch alone": single.embed(crops),
        "as a window": dense.embed_as_windows(crops),
        "in its surroundings": vectors[chosen],
    }
    for name, queries in ways.items():
        cosines = (queries * vectors[chosen]).sum(axis=1)
        best = (queries @ vectors.T).argmax(axis=1)
        near = overlap(places[best], places[chosen]) >= 0.5
        print(
            f"| {name} | {cosines.mean():.3f} | {np.percentile(cosines, 1):.3f} "
            f"| {np.mean(best == chosen):.2f} | {near.mean():.2f} |"
        )


def read_frames(video: Path, every_s: float) -> list[RgbImage]:
    """One frame every so many seconds, uint8 RGB."""
    frames: list[RgbImage] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= every_s * len(frames):
                frames.append(frame.to_ndarray(format="rgb24"))
    return frames


def place(frame: int, found: DenseEmbeddings) -> NDArray[np.int64]:
    """The number of the frame and the box of each window, (N, 5)."""
    boxes = found.boxes.reshape(-1, 4).astype(np.int64)
    return np.concatenate([np.full((len(boxes), 1), frame), boxes], axis=1)


def cut(frames: list[RgbImage], where: NDArray[np.int64]) -> RgbImage:
    """The pixels of a window."""
    frame, x0, y0, x1, y1 = where.tolist()
    return frames[frame][y0:y1, x0:x1]


def overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of windows of one size, row by row; 0 in different frames."""
    size = a[:, 3:] - a[:, 1:3]
    shared = np.clip(size - np.abs(a[:, 1:3] - b[:, 1:3]), 0, None).prod(axis=1)
    return np.where(a[:, 0] == b[:, 0], shared / (2 * size.prod(axis=1) - shared), 0.0)


if __name__ == "__main__":
    main()
