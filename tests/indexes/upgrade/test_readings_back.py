"""The name of a reading, and the reading of a name: there and back."""

import random

import pytest

from indexes.sources import Cut, Reading
from indexes.upgrade.readings import reading_named
from toolkit.mining.settings import MiningSettings


def drawn(generator: random.Random) -> Reading:
    grids = tuple(
        (generator.randint(1, 9), generator.randint(1, 9)) for _ in range(generator.randint(0, 3))
    )
    windows = tuple(generator.randint(8, 999) for _ in range(generator.randint(0, 3)))
    dense = not grids and generator.random() < 0.3
    return Reading(
        cut=Cut(grids=grids, windows=windows, overlap=generator.choice([0.0, 0.5, 1 / 3])),
        dense=dense,
        every_s=generator.choice([None, 0.1, 1.0, 1 / 3, 3600.0]),
    )


def test_three_hundred_readings_come_back_from_their_names():
    generator = random.Random(7)
    kinds = set()
    for _ in range(300):
        reading = drawn(generator)
        for kind in ("image", "video", "shard", "table"):
            name = reading.of(kind)
            back = reading_named(kind, name)
            assert back is not None, name
            assert back.of(kind) == name
            kinds.add(name.partition(":")[0])
    assert kinds >= {"whole", "grid", "windows", "dense", "every", "moving", "pairs", "vectors"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "grid:",
        "grid:3",
        "grid:axb",
        "windows:128",
        "every:0.0/whole",
        "every:x/whole",
        "sideways",
    ],
    ids=range(8),
)
def test_a_name_that_no_reading_has_gives_none(name):
    assert reading_named("video", name) is None
    assert reading_named("image", name) is None


def test_moving_regions_found_in_another_way_cannot_be_told():
    own = Reading(mining=MiningSettings(gap_s=2.0)).of("video")
    assert own.startswith("moving:")
    assert reading_named("video", own) is None
    assert reading_named("video", Reading().of("video")) == Reading()
