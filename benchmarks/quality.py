"""Is what was learned worth it? Training on 50 s of vtest.avi, judged on the last 28 s.

    python benchmarks/quality.py OUT                       # everything, hours on 2 cores
    python benchmarks/quality.py OUT --only "modern,rank-hard: random" --seeds 1
    python benchmarks/quality.py OUT --report              # the tables of what is there

Each training is kept in OUT (shards, runs, ranks), so that the whole can be done in pieces and
is never done twice. `quality_protocol.py` says what trains, what tests and what counts.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from footage import vtest
from imagenet_reference import imagenet_features, weights_file
from machine import describe
from quality_protocol import (
    Gallery,
    Ranks,
    Sightings,
    judged_sightings,
    rank,
    ratio_interval,
    recall_interval,
    recall_of_a_judge,
    write_training_shard,
)

from toolkit.embedding_torch import TorchEmbedder
from toolkit.evaluation.baselines import color_histogram, hog
from toolkit.evaluation.evaluate import random_network
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.run import mine
from toolkit.networks.saved import load_model
from toolkit.patches.shards import find_shards, read_pairs
from toolkit.preprocess import Preprocessing
from toolkit.training.loop import Machine, train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings

# What differs from `vr train` without flags. Nothing is held out of the training part: the
# test is another part of the video.
STEPS = 300  # about two minutes on 2 quiet cores
CONDITIONS: dict[str, dict[str, Any]] = {
    "modern": {},
    "positives from anywhere in the track": {"positives": "track"},
    "positives by augmentation only": {"positives": "augmentation"},
    "all other tracks negative": {"known_negatives": False},
    "patches turned by up to 45 degrees": {"turn": 45.0},
    "rank-hard: random": {"loss": "rank-hard", "hard_after": 1.0},
    "rank-hard: curriculum": {"loss": "rank-hard"},
    "rank-hard: hard at once": {"loss": "rank-hard", "hard_after": 0.0},
    "modern: twice the steps and averaged": {"steps": 2 * STEPS, "ema": 0.99},
}
BASELINE_SIZE = 112  # pixels that the features without training look at


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--video", type=Path, help="vtest.avi, where it is not to be fetched")
    parser.add_argument("--only", help="conditions, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="train nothing more")
    options = parser.parse_args()
    patches = options.out / "patches"
    if not find_shards(patches):
        mine([vtest(options.video)], patches, MiningSettings())
    sightings = judged_sightings(read_pairs(patches))
    shards = options.out / "train"
    if not find_shards(shards):
        write_training_shard(read_pairs(patches), shards)
    wanted = options.only.split(",") if options.only else list(CONDITIONS)
    if not options.report:
        for seed in range(options.seeds):
            for name in wanted:
                trained_run(options.out, shards, name, seed)
    report(options.out, sightings)


def trained_run(out: Path, shards: Path, name: str, seed: int) -> Path:
    """The run of a condition and seed, trained unless it is there."""
    path = _run_path(out, name, seed)
    if not (path / "model.json").is_file():
        changes = {"steps": STEPS} | CONDITIONS[name] | {"seed": seed, "held_out": 0.0}
        settings = TrainSettings.from_recipe("modern", changes)
        done = train(shards, RunFolder.create(path, overwrite=True), settings, machine=Machine())
        (path / "seconds.json").write_text(json.dumps(done.seconds))
        print(f"{name}, seed {seed}: {done.seconds:.0f} s, loss {done.loss:.3f}", flush=True)
    return path


def _run_path(out: Path, name: str, seed: int) -> Path:
    plain = "".join(letter if letter.isalnum() else "-" for letter in name)
    return out / "runs" / f"{plain}-{seed}"


def report(out: Path, sightings: Sightings) -> None:
    """Print the tables, one a gallery."""
    trained = {name: found for name in CONDITIONS if (found := _finished(out, name))}
    features = _baseline_features(sightings)
    if trained:
        _, card = load_model(next(iter(trained.values()))[0])
        features["random network"] = _embed(random_network(card), sightings)
    embedded = {
        name: [_embed(TorchEmbedder(*load_model(run), "cpu"), sightings) for run in runs]
        for name, runs in trained.items()
    }
    print(describe(), end="\n\n")
    pairs = sightings.pairs()
    tracks = len(np.unique(sightings.track[pairs[:, 0]]))
    print(f"{len(pairs)} test pairs of {tracks} tracks.")
    judge = recall_of_a_judge(sightings)
    print(f"Somebody who knows all people and nothing else: R@1 {judge:.3f} of all sightings.\n")
    for gallery in Gallery:
        untrained = {name: rank(sightings, rows, gallery) for name, rows in features.items()}
        learned = {
            name: [rank(sightings, rows, gallery) for rows in every]
            for name, every in embedded.items()
        }
        print(f"### A query against {gallery.value}\n")
        print_table(untrained, learned)
    for name, runs in trained.items():
        seconds = [json.loads((run / "seconds.json").read_text()) for run in runs]
        print(f"- {name}: {', '.join(f'{s:.0f}' for s in seconds)} s of training")


def print_table(untrained: Mapping[str, Ranks], learned: Mapping[str, list[Ranks]]) -> None:
    """Recall with its interval, and the ratio to the best of what needs no training."""
    best = max(untrained, key=lambda name: untrained[name].recall(1))
    print(f"| | seeds | R@1 | R@5 | R@1 over {best} | of each seed |\n|---|---|---|---|---|---|")
    for name, ranks in untrained.items():
        print(f"| {name} | | {recall_interval([ranks], 1)} | {recall_interval([ranks], 5)} | | |")
    for name, runs in learned.items():
        each = ", ".join(f"{run.recall(1):.3f}" for run in runs)
        ratio = ratio_interval(runs, untrained[best], 1)
        recalls = f"{recall_interval(runs, 1)} | {recall_interval(runs, 5)}"
        print(f"| {name} | {len(runs)} | {recalls} | {ratio} | {each} |")
    print()


def _finished(out: Path, name: str) -> list[Path]:
    first = _run_path(out, name, 0)
    paths = sorted(first.parent.glob(first.name.removesuffix("0") + "[0-9]*"))
    return [path for path in paths if (path / "seconds.json").is_file()]


def _baseline_features(sightings: Sightings) -> dict[str, Any]:
    patches = Preprocessing(BASELINE_SIZE, BASELINE_SIZE).fit_batch(list(sightings.pictures))
    return {
        "color histogram": color_histogram(patches),
        "HOG": hog(patches),
        "ImageNet MobileNetV2": imagenet_features(sightings.pictures, weights_file()),
    }


def _embed(embedder: Any, sightings: Sightings) -> Any:
    return embedder.embed(embedder.card.preprocessing.fit_batch(list(sightings.pictures)))


if __name__ == "__main__":
    main()
