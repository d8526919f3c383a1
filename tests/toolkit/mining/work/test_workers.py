"""Any number of workers gives the same bytes, and a worker's death is not the end of the run."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from toolkit.errors import StorageError, UsageError, VrError
from toolkit.lock import writing
from toolkit.mining.cameras import CameraRule
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work import capacity
from toolkit.mining.work.capacity import default_workers
from toolkit.mining.work.pool import WorkerPool
from toolkit.mining.work.run import How, MiningProgress, mine
from toolkit.mining.work.schedule import Schedule, Task
from toolkit.mining.work.survey import Stretch, Survey, Surveyed
from toolkit.mining.work.unit import Stamp, Unit
from toolkit.video.timeline import Segment

ODD_PATH = '''
import os, pathlib, signal, sys

class OddPath(type(pathlib.Path())):
    """A video that goes wrong while it is mined, as long as the file `fuse` lies beside it."""

    def stat(self, **how):
        names = [frame.f_code.co_name for frame in frames()]
        fuse = self.parent / "fuse"
        if "mine_unit" in names and os.path.exists(fuse):
            what, _, times = fuse.read_text().partition(" ")
            if times == "once":
                os.unlink(fuse)
            if what == "change":
                os.utime(str(self), ns=(1, 1))
            elif what == "bug":
                raise RuntimeError("an odd bug")
            else:
                os.kill(os.getpid(), signal.Signals[what])
        return super().stat(**how)

def frames():
    frame = sys._getframe()
    while frame:
        yield frame
        frame = frame.f_back
'''


@pytest.fixture
def odd(clips, tmp_path, monkeypatch):
    """odd("SIGKILL once"): copies of the clips, of which b.mp4 goes wrong in that way."""
    module = tmp_path / "modules" / "odd_path.py"
    module.parent.mkdir()
    module.write_text(ODD_PATH)
    monkeypatch.syspath_prepend(module.parent)
    from odd_path import OddPath

    def make(fuse):
        folder = tmp_path / "videos"
        folder.mkdir()
        for clip in clips.iterdir():
            (folder / clip.name).write_bytes(clip.read_bytes())
        (folder / "fuse").write_text(fuse)
        return [folder / "a.mp4", OddPath(folder / "b.mp4"), folder / "c.mp4"]

    yield make
    sys.modules.pop("odd_path", None)


@pytest.fixture
def how(segment_s):
    return lambda **rest: How(segment_s=segment_s, **rest)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_files(
    workers, clips, settings, how, undisturbed, content, tmp_path
):
    report = mine([clips], tmp_path / "p", settings, None, how(workers=workers))
    assert content(tmp_path / "p") == undisturbed
    assert [*report.quarantined, *report.tracebacks, *report.notes] == []


def test_later_videos_add_shards_and_touch_no_other(
    clips, settings, how, undisturbed, content, tmp_path
):
    mine([clips / "a.mp4", clips / "b.mp4"], tmp_path / "p", settings, None, how(workers=2))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("?*.*")}
    assert len([path for path in before if path.suffix == ".tar"]) == 2
    report = mine([clips], tmp_path / "p", settings, None, how(workers=2))
    assert (report.videos, len(report.skipped)) == (1, 2)
    kept = {path: path.stat().st_mtime_ns for path in before if path.name != ".lock"}
    assert kept == {path: mtime for path, mtime in before.items() if path.name != ".lock"}
    assert content(tmp_path / "p") == undisturbed


@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGSEGV", marks=pytest.mark.slow)])
def test_what_a_dying_worker_had_is_done_again_by_a_fresh_one(name, odd, settings, how, tmp_path):
    videos = odd(f"{name} once")
    report = mine(videos, tmp_path / "p", settings, None, how(workers=2))
    assert (report.videos, report.quarantined) == (3, [])
    [note] = report.notes
    assert f"was ended by {name}" in note
    assert "b.mp4" in note
    plain = mine([*map(Path, videos)], tmp_path / "q", settings, None, how())
    assert report.pairs == plain.pairs


def test_a_video_that_takes_two_workers_down_is_set_aside_and_the_rest_goes_on(
    odd, settings, how, tmp_path
):
    videos = odd("SIGKILL always")
    report = mine(videos, tmp_path / "p", settings, None, how(workers=2))
    [set_aside] = report.quarantined
    assert set_aside.path == str(videos[1])
    assert "SIGKILL (perhaps memory ran out)" in set_aside.reason
    assert "segment" in set_aside.reason
    assert len(list((tmp_path / "p").glob("*.tar"))) == 2
    # It is not on record as bad: when the memory is there, the next run mines it.
    (videos[0].parent / "fuse").unlink()
    again = mine(videos, tmp_path / "p", settings, None, how(workers=2))
    assert (again.videos, len(again.skipped), again.quarantined) == (1, 2, [])
    assert len(list((tmp_path / "p").glob("*.tar"))) == 3
    assert not (tmp_path / "p" / ".parts").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bug_sets_its_video_aside_with_a_traceback(workers, odd, settings, how, tmp_path):
    videos = odd("bug always")
    report = mine(videos, tmp_path / "p", settings, None, how(workers=workers))
    [set_aside] = report.quarantined
    assert "RuntimeError: an odd bug" in set_aside.reason
    [traceback] = report.tracebacks
    assert "Traceback" in traceback
    assert "odd_path.py" in traceback
    assert len(list((tmp_path / "p").glob("*.tar"))) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_that_is_written_to_meanwhile_is_set_aside(workers, odd, settings, how, tmp_path):
    videos = odd("change once")
    report = mine(videos, tmp_path / "p", settings, None, how(workers=workers))
    [set_aside] = report.quarantined
    assert "was written to while it was mined" in set_aside.reason
    assert not (tmp_path / "p" / ".parts").exists()
    again = mine(videos, tmp_path / "p", settings, None, how(workers=workers))
    assert (again.videos, again.quarantined) == (1, [])


def test_a_full_disk_ends_the_run(clips, settings, how, tmp_path, largest_file):
    with largest_file(20_000), pytest.raises(StorageError, match="Cannot write"):
        mine([clips], tmp_path / "p", settings, None, how())
    report = mine([clips], tmp_path / "p", settings, None, how())
    assert (report.videos, report.quarantined) == (3, [])


def test_a_worker_that_cannot_start_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: b"/bin/false")

    def use(pool):
        pool.start(Survey(tmp_path / "x.mp4", tmp_path, 2.0))  # may be told here, or later
        pool.next(30.0)

    with (
        closing(WorkerPool(2, lambda job, told: None)) as pool,
        pytest.raises(VrError, match="worker processes cannot start: one ended with exit"),
    ):
        use(pool)


def test_the_pool_answers_for_what_is_no_file(tmp_path):
    pool = WorkerPool(1, lambda job, told: None)
    job = Survey(tmp_path / "nowhere.mp4", tmp_path, 2.0)
    try:
        assert pool.free() == 1
        pool.start(job)
        assert pool.free() == 0
        done = None
        while done is None:
            done = pool.next(1.0)
        assert (done.job, pool.free()) == (job, 1)
        assert "No such file" in done.result.problem
    finally:
        pool.close()


def test_two_runs_into_one_folder_are_told_apart(clips, settings, how, tmp_path):
    with writing(tmp_path / "p", "x"), pytest.raises(StorageError, match="Another vr is writing"):
        mine([clips], tmp_path / "p", settings, None, how())


def test_the_lock_of_a_dead_process_does_not_hold(clips, settings, how, tmp_path):
    script = (
        "import os, sys, pathlib; from toolkit.lock import writing\n"
        "with writing(pathlib.Path(sys.argv[1]), 'x'): os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[4]
    out = tmp_path / "p"
    subprocess.run(
        [sys.executable, "-c", script, out], env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    assert (out / ".lock").exists()
    assert mine([clips / "c.mp4"], out, settings, None, how()).videos == 1


def test_progress_goes_from_nothing_to_all_with_workers(clips, settings, how, tmp_path):
    told: list[MiningProgress] = []
    report = mine([clips], tmp_path / "p", settings, told.append, how(workers=2))
    assert told[-1].done_s == pytest.approx(told[-1].total_s)
    assert told[-1].total_s == pytest.approx(6.0 + 4.0 + 2.0, abs=0.1)
    assert told[-1].pairs == report.pairs
    assert told[-1].left_s == pytest.approx(0.0, abs=0.01)
    assert not told[-1].is_estimate
    assert told[0].is_estimate
    assert all(at.total_s is None or at.done_s <= at.total_s + 1e-6 for at in told)


@pytest.mark.parametrize(
    ("processors", "files", "expected"),
    [
        (4, {}, 4),
        (4, {"meminfo": "MemTotal: 9 kB\nMemAvailable:    2621440 kB\n"}, 2),
        (4, {"meminfo": "MemAvailable: 1024 kB\n"}, 1),
        (4, {"cpu.max": "200000 100000\n"}, 2),
        (4, {"cpu.max": "50000 100000\n"}, 1),
        (4, {"cpu.max": "max 100000\n", "memory.max": "max\n"}, 4),
        (4, {"memory.max": f"{4 << 30}\n", "memory.current": f"{1 << 30}\n"}, 3),
    ],
)
def test_workers_fit_into_the_machine(processors, files, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    monkeypatch.setattr(capacity, "_read", lambda path: files.get(path.name, ""))
    assert default_workers() == expected


def schedule_of(tmp_path, names):
    cameras = {tmp_path / name: name for name in names}
    task = Task(cameras, frozenset(), tmp_path, MiningSettings(), remine=False, segment_s=100.0)
    return Schedule(task, lambda video: None)


def surveyed(sha256, *lengths_s):
    stretches = [Stretch(Segment(i), length) for i, length in enumerate(lengths_s)]
    return Surveyed(sha256 * 32, Stamp(1, 1), None, tuple(stretches))


def test_of_two_copies_the_first_is_mined_whoever_answers_first(tmp_path):
    schedule = schedule_of(tmp_path, ["a", "b", "c"])
    first, second, third = (schedule.next(3) for _ in range(3))
    assert schedule.surveyed(third, surveyed("ef", 100)) == []
    assert schedule.surveyed(second, surveyed("ab", 100)) == []
    units = schedule.surveyed(first, surveyed("ab", 100))
    assert [unit.source.path.name for unit in units] == ["a", "c"]


def test_a_long_video_in_one_piece_goes_first_and_then_the_long_segments(tmp_path):
    schedule = schedule_of(tmp_path, ["a", "b"])
    for sha256, lengths in (("ab", (100, 110, 120)), ("ef", (3600,))):
        schedule.surveyed(schedule.next(8), surveyed(sha256, *lengths))
    order = [schedule.next(1) for _ in range(4)]
    assert [(u.source.path.name, u.segment.index) for u in order] == [
        ("b", 0), ("a", 2), ("a", 1), ("a", 0),
    ]  # fmt: skip
    assert schedule.next(1) is None


def test_videos_are_not_read_long_before_they_are_mined(tmp_path):
    schedule = schedule_of(tmp_path, "abcdef")
    survey = schedule.next(1)
    schedule.surveyed(survey, surveyed("ab", *[100] * 5))
    kinds = []
    while (job := schedule.next(1)) is not None and len(kinds) < 20:
        kinds.append(type(job))
        if isinstance(job, Survey):
            break
    assert kinds == [Unit] * 4 + [Survey]


def test_a_rule_for_cameras_that_does_not_fit_is_told_before_anything_is_mined(
    clips, settings, how, tmp_path
):
    rule = CameraRule(pattern="yard/{camera}/*")
    with pytest.raises(UsageError, match="does not fit"):
        mine([clips], tmp_path / "p", settings, None, how(cameras=rule))
    assert not (tmp_path / "p").exists()
