"""kill -9 at many points of a build: the index is the old one, the new one, or at a commit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexes.info import info
from indexes.patch_index import BuildSettings, build
from indexes.search import open_index
from toolkit.errors import InputError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run_killed(template, sources, out, mode, first, stride):
    out.mkdir()
    script = HERE / "killed_build.py"
    arguments = [template, sources, out, mode, first, stride]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [out / f"{number:04d}" for number in range(int(done.stdout.split()[-1]))]


def size_of(index) -> int:
    """Patches, all of which must be there with vector and thumbnail; 0 for no index."""
    try:
        measured = info(index)
    except InputError:
        return 0
    with open_index(index) as opened:
        hits = opened.search(np.ones(16, np.float32), 1000, group_tracks=False)
        assert len(hits) == len(opened) == measured.vectors
        assert all(opened.thumbnail(hit.id)[:2] == b"\xff\xd8" for hit in hits)
    return measured.vectors


@pytest.mark.parametrize(
    "stride", [11, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize(
    ("mode", "allowed"),
    [("first", {0, 3, 6, 8}), ("again", {4, 7, 10, 12}), ("overwrite", {4, 8})],
)
def test_a_killed_build_leaves_the_old_index_or_the_new_one(
    tmp_path, pictures, embedder, other_embedder, mode, allowed, stride
):
    template = tmp_path / "template"
    if mode != "first":
        build(template, pictures(range(100, 104), "old"), embedder)
    pictures(8)
    indexes = run_killed(template, tmp_path / "pictures", tmp_path / "out", mode, 1, stride)
    assert len(indexes) > 100 / stride
    model = other_embedder if mode == "overwrite" else embedder
    seen = set()
    for index in indexes:
        size = size_of(index)
        seen.add(size)
        assert size in allowed
        if mode == "overwrite":
            expected = embedder if size == 4 else other_embedder
            assert info(index).model == expected.card.fingerprint
        # The next build goes on from there, sweeps, and ends at the same place as ever.
        settings = BuildSettings(overwrite=mode == "overwrite")
        build(index, [tmp_path / "pictures"], model, settings)
        assert size_of(index) == max(allowed)
        build(index, [tmp_path / "pictures"], model)
        catalogued = info(index).segments
        assert len(list((index / "segments").iterdir())) == catalogued
        shutil.rmtree(index)
    assert min(allowed) in seen
    assert size_of(tmp_path / "out" / f"{len(indexes):04d}") == max(allowed)  # not killed
