"""kill -9 at many points of every write: the index is the old one, the new one, or at a commit."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.compact import compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import InputError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EACH = SearchSettings(group_tracks=False)


def run_killed(template, sources, out, mode, first, stride):
    out.mkdir()
    script = HERE / "killed_build.py"
    arguments = [template, sources, out, mode, first, stride]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [out / f"{number:04d}" for number in range(int(done.stdout.split()[-1]))]


def size_of(index) -> int:
    """Patches, all of which must be there with vector and thumbnail; 0 for no index.

    Nothing is damaged; files that were being made may lie there, and are told as such.
    """
    try:
        found = verify(index)
    except InputError:
        return 0
    assert found.problems == ()
    belonging = info(index).segments
    named = {path.name.split(".")[0] for path in (index / "segments").iterdir()}
    assert len(named) <= belonging + len(found.leftovers)
    with open_index(index) as opened:
        hits = opened.search(np.ones(16, np.float32), 1000, EACH)
        assert len(hits) == len({hit.id for hit in hits}) == len(opened) == found.vectors
        assert all(opened.thumbnail(hit.id)[:2] == b"\xff\xd8" for hit in hits)
    return found.vectors


@dataclass(frozen=True)
class Case:
    """mode: of killed_build.py; allowed: sizes after a kill; end: the last of them."""

    mode: str
    allowed: frozenset[int]
    end: int


CASES = [
    Case("first", frozenset({0, 3, 6, 8}), 8),
    Case("again", frozenset({12, 15, 18, 20}), 20),
    Case("merge", frozenset({12, 15, 18, 20}), 20),
    Case("overwrite", frozenset({12, 8}), 8),
    Case("remove", frozenset({12, 10}), 10),
    Case("compact", frozenset({10}), 10),
    Case("compact-ivf", frozenset({10}), 10),
]


@pytest.fixture
def template(tmp_path, pictures, embedder):
    """Two segments of 12 pictures, of which "remove" removes two; for "compact" they are gone."""

    def make(mode):
        index = tmp_path / "template"
        if mode == "first":
            pictures(8)
            return index
        old = pictures(range(100, 112), "old")
        build(index, old[:5], embedder)
        build(index, old[5:], embedder)
        if mode in ("remove", "compact", "compact-ivf"):
            (tmp_path / "pictures").mkdir()
            for path in (old[3], old[7]):
                shutil.copy(path, tmp_path / "pictures")
        else:
            pictures(8)
        if mode.startswith("compact"):
            remove(index, [str(old[3]), str(old[7])])
        return index

    return make


def go_on(mode, index, sources, embedder, other_embedder):
    """The next writer does the same again, sweeps, and ends at the same place as ever."""
    if mode == "remove":
        assert size_of(index) == 10 or remove(index, [str(p) for p in sources.iterdir()])
    elif mode.startswith("compact"):
        compact(index)
        assert info(index).removed == 0
        assert info(index).segments == 1
    elif mode == "overwrite":
        build(index, [sources], other_embedder, BuildSettings(overwrite=True))
    else:
        build(index, [sources], embedder)


@pytest.mark.parametrize(
    "stride", [97, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mode)
def test_a_killed_write_leaves_the_old_index_or_the_new_one(
    tmp_path, template, embedder, other_embedder, case, stride
):
    before = template(case.mode)
    sources, out = tmp_path / "pictures", tmp_path / "out"
    indexes = run_killed(before, sources, out, case.mode, 1, stride)
    assert len(indexes) > 60 / stride
    seen = set()
    for index in indexes:
        size = size_of(index)
        seen.add(size)
        assert size in case.allowed
        if case.mode == "overwrite":
            expected = embedder if size == 12 else other_embedder
            assert info(index).model == expected.card.fingerprint
        go_on(case.mode, index, sources, embedder, other_embedder)
        assert size_of(index) == case.end
        assert verify(index).leftovers == ()
        shutil.rmtree(index)
    if case.mode != "compact":
        assert min(seen) == min(case.allowed) or max(seen) == max(case.allowed)
    last = out / f"{len(indexes):04d}"  # not killed
    assert size_of(last) == case.end
    if case.mode in ("merge", "compact-ivf"):
        assert (info(last).kind, info(last).segments) == ("ivf-flat", 1)
