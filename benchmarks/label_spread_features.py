"""The vectors that labels are spread on: networks that saw no labels, and what they must beat."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from footage import CACHE, vtest
from imagenet_reference import imagenet_features, weights_file
from labelled_images import Labelled
from quality import trained_run
from quality_protocol import write_training_shard

from toolkit.embedding import Embeddings
from toolkit.embedding_torch import TorchEmbedder
from toolkit.evaluation.baselines import color_histogram, hog
from toolkit.evaluation.evaluate import random_network
from toolkit.images import RgbImage, encode_jpeg
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.run import mine
from toolkit.networks.saved import load_model
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, find_shards, read_pairs, write_shard
from toolkit.preprocess import Preprocessing
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.training.loop import Machine, train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.workspace import atomic_file

FROM_PICTURES, FROM_VIDEO, RANDOM = "trained on these", "trained on vtest.avi", "random network"
IMAGENET, HISTOGRAM, GRADIENTS = "ImageNet MobileNetV2", "color histogram", "HOG"
NAMES = (FROM_PICTURES, FROM_VIDEO, RANDOM, IMAGENET, HISTOGRAM, GRADIENTS)

STEPS = 300
_BASELINE_SIZE = 112
_AT_ONCE = 512


def features(name: str, data: Labelled, unlabelled: tuple[RgbImage, ...], out: Path) -> Embeddings:
    """The vectors of the pictures (N, D), length 1; made once and kept in `out`.

    unlabelled: what a network may learn from without labels.
    """
    plain = "".join(letter if letter.isalnum() else "-" for letter in f"{data.name}-{name}")
    path = out / "features" / f"{plain}.npy"
    if not path.is_file():
        embed = _embedder(name, data, unlabelled, out)
        parts = [embed(data.pictures[at : at + _AT_ONCE]) for at in range(0, len(data), _AT_ONCE)]
        with atomic_file(path) as draft, draft.open("wb") as stream:
            np.save(stream, np.concatenate(parts).astype(np.float32))
    vectors: Embeddings = np.load(path)
    return vectors


def _embedder(
    name: str, data: Labelled, unlabelled: tuple[RgbImage, ...], out: Path
) -> Callable[[tuple[RgbImage, ...]], Embeddings]:
    if name == IMAGENET:
        return lambda pictures: imagenet_features(pictures, weights_file())
    if name in (HISTOGRAM, GRADIENTS):
        describe = color_histogram if name == HISTOGRAM else hog
        size = Preprocessing(_BASELINE_SIZE, _BASELINE_SIZE)
        return lambda pictures: describe(size.fit_batch(list(pictures)))
    run = _trained_on(data, unlabelled, out) if name == FROM_PICTURES else _trained_on_video()
    network, card = load_model(run)
    embedder = TorchEmbedder(network, card, "cpu")
    if name == RANDOM:
        embedder = random_network(card)
    return lambda pictures: embedder.embed(card.preprocessing.fit_batch(list(pictures)))


def _trained_on_video() -> Path:
    """On the first 50 s of vtest.avi, as `quality.py` trains."""
    out = CACHE / "quality"
    if not find_shards(out / "patches"):
        mine([vtest()], out / "patches", MiningSettings())
    if not find_shards(out / "train"):
        write_training_shard(read_pairs(out / "patches"), out / "train")
    return trained_run(out, out / "train", "modern", 0)


def _trained_on(data: Labelled, unlabelled: tuple[RgbImage, ...], out: Path) -> Path:
    """On pictures alone: the positive of each is the same picture, otherwise augmented."""
    folder = out / "runs" / "".join(letter if letter.isalnum() else "-" for letter in data.name)
    if not (folder / "model.json").is_file():
        shards = out / "shards" / folder.name
        if not find_shards(shards):
            write_shard(shards / "pictures.tar", _alone(unlabelled))
        changes = {"steps": STEPS, "positives": "augmentation", "held_out": 0.0, "seed": 0}
        settings = TrainSettings.from_recipe("modern", changes)
        train(shards, RunFolder.create(folder, overwrite=True), settings, machine=Machine())
    return folder


def _alone(pictures: tuple[RgbImage, ...]) -> Iterator[PairSample]:
    """Each picture as a pair with itself, and a track of its own."""
    quality = TrackQuality(score=1.0, forward_backward=0.0, appearance=1.0)
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        seen = Sighting(float(number), Box(0, 0, width, height))
        phash = perceptual_hash(picture)
        name = f"{number:06}"
        pair = PatchPair(
            name, "0" * 64, "pictures", "pictures", f"{'0' * 12}-0000-{number:04}", seen, seen,
            quality, phash, phash,
        )  # fmt: skip
        jpeg = encode_jpeg(picture)
        yield PairSample(pair, jpeg, jpeg)
