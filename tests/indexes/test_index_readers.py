"""Readers beside a writer: another process searches all the time and sees whole states only."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import StorageError
from toolkit.lock import writing

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INVERTED = Wish(key="IVF2,Flat")


@contextmanager
def reading(index, tmp_path):
    """Yields a list that holds the reader's report at the end."""
    stop, report = tmp_path / "stop", []
    reader = subprocess.Popen(
        [sys.executable, str(HERE / "searching_reader.py"), str(index), str(stop)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert reader.stdout.readline() == "ready\n"
        yield report
        stop.touch()
        out, error = reader.communicate(timeout=60)
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
        reader.stderr.close()
    assert reader.returncode == 0, error
    report.append(json.loads(out.splitlines()[-1]))


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_a_reader_sees_whole_states_only(tmp_path, pictures, embedder, other_embedder, rounds):
    index = tmp_path / "index"
    old, more = pictures(12), pictures(range(12, 20))
    build(index, old, embedder)
    names = [path.stem for path in [*old, *more]]
    model, other = embedder.card.fingerprint, other_embedder.card.fingerprint
    allowed = {(model, tuple(names[:size])) for size in range(12, 21)}
    allowed |= {(model, tuple(names[2:]))}
    allowed |= {(other, tuple(names[:5])), (model, tuple(names[:12]))}
    with reading(index, tmp_path) as report:
        for _ in range(rounds):
            build(index, more, embedder, BuildSettings(commit_vectors=2, batch=2))
            remove(index, [str(path) for path in old[:2]])
            compact(index, CompactSettings(wish=INVERTED))  # a merge to another kind
            compact(index, CompactSettings(wish=Wish()))
            build(index, old[:5], other_embedder, BuildSettings(overwrite=True))
            build(index, old, embedder, BuildSettings(overwrite=True))
    (seen,) = report
    states = {(fingerprint, tuple(sources)) for fingerprint, sources in seen["seen"]}
    assert states <= allowed
    assert seen["searches"] >= 1
    assert verify(index).problems == ()


def test_an_open_index_is_not_disturbed_by_what_comes_after(tmp_path, pictures, embedder):
    index = tmp_path / "index"
    paths = pictures(8)
    build(index, paths[:6], embedder)
    each = SearchSettings(group_tracks=False)
    with open_index(index) as opened:
        before = opened.search(np.ones(16, np.float32), 100, each)
        build(index, paths, embedder)
        remove(index, [str(paths[0])])
        compact(index, CompactSettings(wish=INVERTED))
        assert opened.search(np.ones(16, np.float32), 100, each) == before
        assert len(opened) == 6
        assert opened.thumbnail(1)
    with open_index(index) as opened:
        assert len(opened) == 7


def test_the_second_writer_is_told_at_once(tmp_path, pictures, embedder):
    index = tmp_path / "index"
    build(index, pictures(2), embedder)
    with writing(index, "x"):
        for write in (
            lambda: build(index, pictures(4), embedder),
            lambda: remove(index, ["*"]),
            lambda: compact(index),
        ):
            with pytest.raises(StorageError, match="Another vr is writing"):
                write()
    assert info(index).vectors == 2


def test_the_second_writer_waits_as_long_as_it_is_asked_to(tmp_path, pictures, embedder):
    index = tmp_path / "index"
    build(index, pictures(2), embedder)
    held, free = threading.Event(), threading.Event()

    def hold():
        with writing(index, "x"):
            held.set()
            free.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    start = time.monotonic()
    with pytest.raises(StorageError, match="Another vr is writing"):
        remove(index, ["*"], wait_s=0.3)
    assert 0.3 <= time.monotonic() - start < 10
    threading.Timer(0.3, free.set).start()
    build(index, pictures(4), embedder, BuildSettings(wait_s=20))
    holder.join()
    assert info(index).vectors == 4
