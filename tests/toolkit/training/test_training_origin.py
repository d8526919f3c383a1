"""What a network learned from: found where the run is the same, else nothing is claimed."""

import json
from pathlib import Path

import pytest

from toolkit.training.origin import training_of

SHA256 = "45cddc9490be6934" + "0" * 48


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """One run, and the folder of its shards."""
    patches = tmp_path / "patches"
    (patches / "ledger").mkdir(parents=True)
    for name in ("45cddc9490be6934.tar", "b.tar", ".hidden.tar"):
        (patches / name).touch()
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    record = {
        "patches": str(patches), "digest": "d" * 64, "train_pairs": 5, "held_out": ["a", "b"],
    }  # fmt: skip
    (run / "data.json").write_text(json.dumps(record))
    return tmp_path / "runs"


def test_a_run_with_its_shards(runs: Path) -> None:
    found = training_of({"run": "first", "data": "d" * 64}, runs)
    assert found is not None
    assert (found.run, found.digest) == ("first", "d" * 64)
    assert (found.train_pairs, found.held_out_pairs) == (5, 2)
    patches = runs.parent / "patches"
    assert found.shards == (str(patches / "45cddc9490be6934.tar"), str(patches / "b.tar"))
    assert found.shard_of(SHA256) == found.shards[0]
    assert found.shard_of("f" * 64) is None


def test_shards_that_are_gone(runs: Path) -> None:
    (runs.parent / "patches").rename(runs.parent / "moved")
    found = training_of({"run": "first", "data": "d" * 64}, runs)
    assert found is not None
    assert found.shards == ()
    assert found.shard_of(SHA256) is None


@pytest.mark.parametrize(
    "lineage",
    [
        {},
        {"run": "first"},
        {"run": "first", "data": "e" * 64},
        {"run": "second", "data": "d" * 64},
        {"run": "../runs/first", "data": "d" * 64},
        {"run": "", "data": "d" * 64},
        {"run": 3, "data": "d" * 64},
    ],
)
def test_another_run_is_not_claimed(runs: Path, lineage: dict[str, object]) -> None:
    assert training_of(lineage, runs) is None


def test_a_damaged_record_is_no_run(runs: Path) -> None:
    (runs / "first" / "data.json").write_text("{")
    assert training_of({"run": "first", "data": "d" * 64}, runs) is None
