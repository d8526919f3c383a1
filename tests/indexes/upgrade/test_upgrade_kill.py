"""kill -9 at many points of an upgrade: the index is of the old model or of the new one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.verify import verify
from indexes.folder.store import open_folder
from indexes.upgrade.upgrade import upgrade

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


def run_killed(template, sources, out, stride):
    out.mkdir()
    arguments = [HERE / "killed_build.py", template, sources, out, "upgrade", 1, stride]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [out / f"{number:04d}" for number in range(int(done.stdout.split()[-1]))]


def contents(index):
    """The model, and the vector of each patch."""
    assert verify(index).problems == ()
    store = open_folder(index)
    try:
        ids = [key for (key,) in store.catalog.rows("SELECT id FROM patches ORDER BY id")]
        return store.card.fingerprint, ids, store.vectors_of(ids)
    finally:
        store.close()


@pytest.mark.parametrize(
    "stride", [97, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_a_killed_upgrade_leaves_the_old_model_or_the_new_one(
    tmp_path, pictures, embedder, other_embedder, stride
):
    template = tmp_path / "template"
    build(template, pictures(7), embedder)
    old = contents(template)
    undisturbed = tmp_path / "undisturbed"
    build(undisturbed, [tmp_path / "pictures"], other_embedder)
    new = contents(undisturbed)
    models = set()
    killed = run_killed(template, tmp_path / "pictures", tmp_path / "out", stride)
    assert len(killed) > 60 / stride
    for index in killed:
        model, ids, vectors = contents(index)
        models.add(model)
        expected = old if model == old[0] else new
        assert (model, ids) == (expected[0], old[1])
        np.testing.assert_array_equal(vectors, expected[2])
        if model == old[0]:
            upgrade(index, other_embedder)  # goes on from what was embedded
            assert contents(index)[0] == new[0]
    assert old[0] in models
