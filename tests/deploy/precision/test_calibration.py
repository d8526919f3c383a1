"""Which patches the ranges come from: of the training side, spread, and the same each time."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.precision import Calibration, calibration_patches
from deploy.precision.calibration import spread_pairs
from toolkit.errors import ImageError, InputError, MismatchError
from toolkit.images import encode_jpeg
from toolkit.model_card import ModelCard
from toolkit.patches.shards import PairSample, StoredPair, read_pairs, write_shard
from toolkit.preprocess import Preprocessing
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.training.run_folder import DataRecord, RunFolder

CARD = ModelCard("small", 8, Preprocessing(16, 16), "f" * 64, {})


def sample(video: str, track: int, number: int) -> PairSample:
    """A pair whose query is of one gray value, and whose positive is brighter by 100."""
    gray = 4 * track + number
    quality = TrackQuality(1, 0, 1)
    pair = PatchPair(
        f"{video}-{track}-{number}", video * 64, f"{video}.mp4", video, f"{video}-{track}",
        Sighting(track + number / 10, Box(0, 0, 20, 20)),
        Sighting(track + number / 10 + 1, Box(0, 0, 20, 20)), quality, 0, 0,
    )  # fmt: skip
    query, positive = (np.full((20, 20, 3), value, np.uint8) for value in (gray, gray + 100))
    return PairSample(pair, encode_jpeg(query), encode_jpeg(positive))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Video a has 12 tracks of 4 pairs, video b one track of 2."""
    folder = tmp_path / "patches"
    folder.mkdir()
    write_shard(folder / "a.tar", [sample("a", t, n) for t in range(12) for n in range(4)])
    write_shard(folder / "b.tar", [sample("b", 20, n) for n in range(2)])
    return folder


def make_run(tmp_path: Path, shards: Path, held_out: tuple[str, ...], train: int) -> RunFolder:
    from toolkit.workspace import write_json

    record = DataRecord(str(shards), "d" * 64, train, held_out)
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    content = {name: getattr(record, name) for name in ("patches", "digest", "train_pairs")}
    write_json(folder / "data.json", {**content, "held_out": list(held_out)})
    return RunFolder(folder)


def grays(calibration: Calibration) -> list[int]:
    return [round(float(image.mean())) for image in calibration.images]


def test_held_out_patches_are_never_taken(tmp_path: Path, shards: Path) -> None:
    held_out = tuple(f"a-{track}-{number}" for track in (3, 7) for number in range(4))
    run = make_run(tmp_path, shards, held_out, 42)
    found = calibration_patches(run, CARD)
    assert found.images.shape == (84, 16, 16, 3)
    assert found.images.dtype == np.uint8
    banned = {4 * track + number + extra
              for track in (3, 7) for number in range(4) for extra in (0, 100)}  # fmt: skip
    assert all(min(abs(gray - bad) for bad in banned) > 0.5 for gray in grays(found))


def test_hash_is_over_shape_and_pixels(tmp_path: Path, shards: Path) -> None:
    run = make_run(tmp_path, shards, (), 50)
    found, again = (calibration_patches(run, CARD, count=40) for _ in range(2))
    content = b"(40, 16, 16, 3)" + b"".join(image.tobytes() for image in found.images)
    assert found.sha256 == hashlib.sha256(content).hexdigest() == again.sha256
    assert calibration_patches(run, CARD, count=41).sha256 != found.sha256


def test_queries_come_first_and_positives_where_pairs_are_few(tmp_path: Path, shards: Path) -> None:
    run = make_run(tmp_path, shards, (), 50)
    assert max(grays(calibration_patches(run, CARD, count=50))) < 100
    assert sum(gray >= 100 for gray in grays(calibration_patches(run, CARD, count=60))) == 10
    assert len(calibration_patches(run, CARD).images) == 100


def stored(shards: Path) -> list[StoredPair]:
    return list(read_pairs(shards))


def keys(pairs: list[StoredPair]) -> list[str]:
    return [each.pair.key for each in pairs]


def test_every_beginning_is_spread_over_videos_tracks_and_time(shards: Path) -> None:
    order = keys(spread_pairs(stored(shards)))
    assert sorted(order) == sorted(keys(stored(shards)))
    assert order[:2] == ["a-0-0", "b-20-0"]
    tracks = Counter(key.rsplit("-", 1)[0] for key in order[:14])
    assert tracks["b-20"] == 2
    assert max(tracks.values()) == 2
    assert len(tracks) == 13
    of_one = [key for key in order if key.startswith("a-5-")]
    assert of_one[:2] == ["a-5-0", "a-5-3"]


def test_order_of_the_pairs_in_the_shards_does_not_matter(shards: Path) -> None:
    pairs = stored(shards)
    assert keys(spread_pairs(pairs[::-1])) == keys(spread_pairs(pairs))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_next_to_no_pairs_are_all_there(count: int, shards: Path) -> None:
    pairs = stored(shards)[:count]
    assert sorted(keys(spread_pairs(pairs))) == sorted(keys(pairs))


def test_moved_shards_are_found_and_missing_ones_named(tmp_path: Path, shards: Path) -> None:
    run = make_run(tmp_path, shards, (), 50)
    before = calibration_patches(run, CARD).sha256
    moved = shards.rename(tmp_path / "elsewhere")
    assert calibration_patches(run, CARD, moved).sha256 == before
    with pytest.raises(MismatchError, match="are not at") as caught:
        calibration_patches(run, CARD)
    assert "--patches" in caught.value.mend


def test_shards_of_less_than_the_run_trained_on_are_refused(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(MismatchError, match="trained on 51 pairs"):
        calibration_patches(make_run(tmp_path, shards, (), 51), CARD)


def test_too_few_patches_are_refused(tmp_path: Path, shards: Path) -> None:
    held_out = tuple(f"a-{track}-{number}" for track in range(12) for number in range(4))
    run = make_run(tmp_path, shards, held_out, 2)
    with pytest.raises(InputError, match="32 patches at least, and there are 4"):
        calibration_patches(run, CARD)
    assert len(calibration_patches(run, CARD, least=1).images) == 4


def test_an_imported_network_takes_any_of_the_pairs(tmp_path: Path, shards: Path) -> None:
    assert len(calibration_patches(make_run(tmp_path, shards, (), 0), CARD).images) == 100


def test_a_patch_that_is_no_picture_is_a_clear_error(tmp_path: Path, shards: Path) -> None:
    broken: Any = sample("c", 1, 0)
    write_shard(shards / "c.tar", [PairSample(broken.pair, b"no picture", broken.positive_jpeg)])
    with pytest.raises(ImageError, match=r"c-1-0\.query"):
        calibration_patches(make_run(tmp_path, shards, (), 51), CARD)
