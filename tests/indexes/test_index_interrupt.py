"""Ctrl-C anywhere in a build: what was finished is kept, and the rest comes with the next."""

import gc
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.search.index import open_index
from toolkit.embedding import embed_images
from toolkit.errors import InputError, UsageError

ROOT = Path(__file__).parents[2] / "indexes"
MODULES = ("build/build", "build/filling", "build/writer", "build/merge", "catalog", "patch_rows")
MODULES += ("folder/sink", "folder/files", "vectors/flat", "build/compact", "vectors/approximate")
FILES = {str(ROOT / f"{name}.py") for name in MODULES}


def interrupting(step):
    """A trace function that presses Ctrl-C before line number `step` that the build runs."""
    seen = 0

    def trace(frame, event, arg):
        nonlocal seen
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            seen += 1
            if seen == step:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


def build_interrupted(index, sources, embedder, step, settings=None):
    """Sources that were finished when the interrupt came; None where it never came."""
    finished = [0]
    before = sys.gettrace()
    sys.settrace(interrupting(step))
    try:
        build(index, sources, embedder, settings, lambda at: finished.append(at.done))
    except KeyboardInterrupt:
        return finished[-1]
    finally:
        sys.settrace(before)
        gc.collect()  # a connection that was just being closed; a process would end here
    return None


def count(index):
    try:
        return info(index).vectors
    except InputError:
        return 0


def check_answers(index, embedder, picture_of, numbers):
    """Each picture finds itself: vectors and rows of the catalog belong together."""
    with open_index(index) as opened:
        for number in numbers:
            hit = opened.search(embed_images(embedder, [picture_of(number)])[0], 1)[0]
            assert (Path(hit.place.source).stem, hit.score) == (f"{number:04d}", pytest.approx(1.0))


@pytest.mark.parametrize(
    "stride", [97, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_an_interrupt_at_any_line_keeps_every_finished_source(
    tmp_path, pictures, picture_of, embedder, stride
):
    sources = pictures(5)
    settings = BuildSettings(batch=2, commit_vectors=3)
    for step in range(1, 10_000, stride):
        index = tmp_path / f"{step:04d}"
        finished = build_interrupted(index, sources, embedder, step, settings)
        if finished is None:
            break
        kept = count(index)
        assert finished <= kept <= finished + 1, step
        if kept:
            assert verify(index).problems == (), step
            check_answers(index, embedder, picture_of, range(kept))
        build(index, sources, embedder, settings)
        assert count(index) == 5, step
        check_answers(index, embedder, picture_of, range(5))
    assert step > 200


# A file that was just being opened; a process would end here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "stride", [43, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_an_interrupt_at_any_line_of_a_compaction_loses_nothing(tmp_path, two_segments, stride):
    settings = CompactSettings(wish=Wish(key="IVF2,Flat"))
    index = tmp_path / "index"
    for step in range(1, 10_000, stride):
        shutil.copytree(two_segments, index)
        before = sys.gettrace()
        sys.settrace(interrupting(step))
        try:
            compact(index, settings)
            break
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
            gc.collect()
        found = verify(index)
        assert (found.problems, found.vectors) == ((), 17), step
        compact(index, settings)
        found = verify(index)
        assert (found.problems, found.segments, found.leftovers) == ((), 1, ()), step
        shutil.rmtree(index)
    assert step > 100


class Impatient:
    """An embedder during whose batch number `at` somebody presses Ctrl-C."""

    def __init__(self, embedder, at):
        self._embedder, self._left = embedder, at
        self.card, self.runtime = embedder.card, "impatient"

    def embed(self, images):
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return self._embedder.embed(images)


def test_a_half_read_shard_is_dropped_and_the_pictures_before_it_are_kept(
    tmp_path, pictures, pair, shard, embedder, rows
):
    long = shard(tmp_path / "s.tar", [pair(1, (float(t), float(t + 1))) for t in range(9)])
    sources, settings = [*pictures(3), long], BuildSettings(batch=2)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", sources, Impatient(embedder, 4), settings)
    kinds = "SELECT kind, count(*) FROM inputs GROUP BY kind"
    assert rows(tmp_path / "index", kinds) == [("image", 3)]
    assert rows(tmp_path / "index", "SELECT vectors FROM segments") == [(3,)]
    assert verify(tmp_path / "index").problems == ()
    report = build(tmp_path / "index", sources, embedder, settings)
    assert (report.skipped, report.added, report.vectors) == (3, 1, 10)


def test_interrupted_in_the_first_source_there_is_no_index(tmp_path, pictures, embedder):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", pictures(1), Impatient(embedder, 1), BuildSettings(batch=1))
    assert not (tmp_path / "index" / "catalog.sqlite").exists()


def test_an_interrupted_overwrite_keeps_the_old_index(tmp_path, pictures, embedder, other_embedder):
    build(tmp_path / "index", pictures(2), embedder)
    settings = BuildSettings(overwrite=True, batch=1, commit_s=1e-9)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", pictures(range(5, 9)), Impatient(other_embedder, 3), settings)
    kept = info(tmp_path / "index")
    assert (kept.vectors, kept.model) == (2, embedder.card.fingerprint)


def test_a_commit_comes_by_time_too(tmp_path, pictures, embedder, monkeypatch, rows):
    """Each picture takes 25 s on this clock: one commit a minute, and one at the end."""
    seconds = iter(range(0, 10_000, 25))
    now = [0]

    def embed(images):
        now[0] = next(seconds)
        return np.asarray(original(images))

    original = embedder.embed
    monkeypatch.setattr(embedder, "embed", embed)
    monkeypatch.setattr("indexes.build.filling.time.monotonic", lambda: now[0])
    build(tmp_path / "index", pictures(8), embedder, BuildSettings(batch=1))
    sizes = rows(tmp_path / "index", "SELECT vectors FROM segments ORDER BY id")
    assert sizes == [(4,), (3,), (1,)]


def test_a_minute_without_any_patch_makes_no_empty_index(tmp_path, still_clip, embedder):
    with pytest.raises(InputError, match="nothing to index"):
        build(tmp_path / "index", [still_clip], embedder, BuildSettings(commit_s=1e-9))
    assert not (tmp_path / "index" / "catalog.sqlite").exists()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_time_between_commits_that_makes_no_sense_is_named(seconds):
    with pytest.raises(UsageError, match="commit_s"):
        BuildSettings(commit_s=seconds)
