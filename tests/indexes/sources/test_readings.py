"""The name of a reading: the same in every process, another for every setting that matters."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from indexes.sources import Cut, Reading, Source
from toolkit.errors import UsageError
from toolkit.mining.settings import MiningSettings

ROOT = Path(__file__).parents[3]


def test_the_names():
    assert Reading().of("image") == "whole"
    assert Reading().of("shard") == "pairs"
    assert Reading().of("table") == "vectors"
    assert Reading(dense=True).of("image") == "dense"
    assert Reading(dense=True, cut=Cut(windows=(256, 96))).of("image") == "dense:96,256"
    assert Reading(dense=True, every_s=0.5).of("video") == "every:0.5/dense"
    assert Reading(every_s=2).of("video") == Reading(every_s=2.0).of("video")
    assert Reading(cut=Cut(grids=((2, 2),))).of("video") == Reading().of("video")


def test_every_setting_of_mining_makes_another_reading():
    changes = [
        {"recipe": "wang2015"}, {"device": "cuda"}, {"gap_s": 0.9}, {"pairs_per_gap": 2},
        {"patch_pixels": 128}, {"min_box_pixels": 24}, {"min_travel": 0.2},
        {"min_quality": 0.5}, {"jpeg_quality": 90},
    ]  # fmt: skip
    assert {name for change in changes for name in change} == set(MiningSettings().as_json())
    readings = [Reading(mining=replace(MiningSettings(), **change)) for change in changes]
    names = {reading.of("video") for reading in [Reading(), *readings]}
    assert len(names) == len(changes) + 1
    assert all(name.startswith("moving:") and len(name) == 19 for name in names)


def test_another_process_gives_the_same_names():
    code = (
        "from indexes.sources import Reading; from toolkit.mining.settings import MiningSettings;"
        "print(Reading(mining=MiningSettings(gap_s=0.5)).of('video'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == Reading(mining=MiningSettings(gap_s=0.5)).of("video")


def test_what_makes_no_sense_is_refused():
    for every_s in (0.0, -1.0, float("nan"), float("inf"), 90_000.0):
        with pytest.raises(UsageError, match="every"):
            Reading(every_s=every_s)
    with pytest.raises(UsageError, match="--grid or --dense"):
        Reading(dense=True, cut=Cut(grids=((1, 1),)))


def test_the_hash_of_a_source_is_that_of_its_bytes_and_of_what_lies_beside_it(tmp_path):
    import hashlib

    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    alone = Source(tmp_path / "a", "table")
    assert alone.sha256() == hashlib.sha256(b"one").hexdigest()
    both = Source(tmp_path / "a", "table", beside=(tmp_path / "b",))
    digests = f"{alone.sha256()} {hashlib.sha256(b'two').hexdigest()}"
    assert both.sha256() == hashlib.sha256(digests.encode()).hexdigest()
