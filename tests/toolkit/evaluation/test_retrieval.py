"""Recall@k and MAP@R against a loop that sorts each query's gallery."""

import zlib

import cv2
import numpy as np
import pytest

from toolkit.errors import TooFewHeldOutError
from toolkit.evaluation.baselines import color_histogram, hog
from toolkit.evaluation.retrieval import build_gallery, retrieval_metrics
from toolkit.patches.relations import TrackSpans, different
from toolkit.records import Box, PatchPair, Sighting, TrackQuality


def pair(track, start, gap=1.0, x=0.0, video="v"):
    return PatchPair(
        f"{video}-{track}-{start}", video, "", video, f"{video}-{track}",
        Sighting(start, Box(x, 0, x + 9, 9)), Sighting(start + gap, Box(x + 1, 0, x + 10, 9)),
        TrackQuality(1, 0, 1), *2 * [zlib.crc32(f"{video}-{track}".encode()) << 16],
    )  # fmt: skip


def scene(seed=0):
    """Three tracks of several pairs in each of two videos, and their features."""
    rng = np.random.default_rng(seed)
    pairs = [
        pair(track, start, x=40.0 * track, video=video)
        for video in "vw"
        for track in range(3)
        for start in (0.0, 0.5, 1.5)
    ]
    identity = {p.track: rng.normal(size=6) for p in pairs}
    queries = np.stack([identity[p.track] + rng.normal(size=6) for p in pairs])
    positives = np.stack([identity[p.track] + rng.normal(size=6) for p in pairs])
    return pairs, queries.astype(np.float32), positives.astype(np.float32)


def literal_metrics(pairs, queries, positives):
    """Rank by sorting, straight from the definition."""
    elsewhere = different(TrackSpans.of(pairs))
    firsts, fifths, maps = [], [], []
    for i, query in enumerate(pairs):
        gallery = []
        for j, other in enumerate(pairs):
            gap = abs(query.positive.time_s - query.query.time_s)
            if other.track == query.track:
                if abs(other.positive.time_s - query.query.time_s) >= gap - 1e-6:
                    gallery.append((float(queries[i] @ positives[j]), True))
            elif elsewhere[i, j]:
                gallery.append((float(queries[i] @ positives[j]), False))
                gallery.append((float(queries[i] @ queries[j]), False))
        gallery.sort(key=lambda entry: -entry[0])
        flags = [relevant for _, relevant in gallery]
        count = sum(flags)
        firsts.append(flags[0])
        fifths.append(any(flags[:5]))
        precision = [sum(flags[: k + 1]) / (k + 1) for k in range(count)]
        maps.append(sum(p for p, f in zip(precision, flags, strict=False) if f) / count)
    return np.mean(firsts), np.mean(fifths), np.mean(maps)


@pytest.mark.parametrize("seed", range(4))
def test_the_metrics_equal_the_literal_ranking(seed):
    pairs, queries, positives = scene(seed)
    given = retrieval_metrics(queries, positives, build_gallery(pairs))
    expected = literal_metrics(pairs, queries, positives)
    assert given.queries == len(pairs)
    assert (given.recall_at_1, given.recall_at_5, given.map_at_r) == pytest.approx(expected)
    assert 0 < given.recall_at_1 < 1  # the scene is neither trivial nor hopeless


def test_a_perfect_feature_finds_everything():
    pairs, _, _ = scene()
    one_hot = np.eye(6, dtype=np.float32)[[hash_of(p) for p in pairs]]
    given = retrieval_metrics(one_hot, one_hot, build_gallery(pairs))
    assert (given.recall_at_1, given.recall_at_5, given.map_at_r) == (1, 1, 1)


def hash_of(pair):
    return int(pair.track[2:]) + 3 * (pair.video == "w")


def test_a_constant_feature_finds_nothing():
    pairs, _, _ = scene()
    same = np.ones((len(pairs), 4), np.float32)
    given = retrieval_metrics(same, same, build_gallery(pairs))
    assert (given.recall_at_1, given.recall_at_5, given.map_at_r) == (0, 0, 0)


def test_what_may_be_the_same_thing_is_left_out():
    # A track that starts 1 s after another ended, at another place: the same thing again?
    pairs = [pair(0, 0.0), pair(1, 2.0, x=200), pair(2, 0.0, x=90)]
    gallery = build_gallery(pairs)
    assert not gallery.distractor[0, 1]
    assert gallery.distractor[0, 2]
    assert gallery.relevant[0].tolist() == [False] * 3 + [True, False, False]


def test_no_pairs_cannot_be_measured():
    with pytest.raises(TooFewHeldOutError, match="0 held-out pairs"):
        build_gallery([])


def test_one_track_cannot_be_measured():
    with pytest.raises(TooFewHeldOutError, match="recall cannot be measured"):
        build_gallery([pair(0, 0.0), pair(0, 5.0)])


def patches(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 40, 3), np.uint8)


def test_color_histograms_are_those_of_opencv():
    batch = patches(3)
    expected = []
    for patch in batch:
        counts = cv2.calcHist([patch], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
        expected.append(np.sqrt(counts / counts.sum()))
    np.testing.assert_allclose(color_histogram(batch), expected, atol=1e-6)


@pytest.mark.parametrize("feature", [color_histogram, hog])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_baselines_give_rows_of_length_one(feature, count):
    rows = feature(patches(count))
    assert rows.shape[0] == count
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(count), atol=1e-5)


def test_hog_follows_gradients_and_not_brightness():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::8] = stripes[1::8] = 120
    upright, brighter, turned = hog(np.stack([stripes, stripes + 60, stripes.swapaxes(0, 1)]))
    assert upright @ brighter > 0.999
    assert upright @ turned < 0.5
