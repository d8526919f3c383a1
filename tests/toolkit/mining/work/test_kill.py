"""kill -9 at many points: the next run gives the same bytes, and nothing is lost or doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.mining.work.run import How, mine
from toolkit.patches.shards import read_pairs, read_shard

HERE = Path(__file__).parent
ROOT = HERE.parents[3]

COMMAND = """
import sys
import toolkit.mining.segments
toolkit.mining.segments.SEGMENT_S = 2.0
from cli.main import main
sys.exit(main(["mine", *sys.argv[1:], "--gap", "0.4", "--workers", "2"]))
"""


def start(*arguments, **rest):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **rest,
    )


def run_killed(clips, out, mode, first, stride, *rest):
    out.mkdir()
    process = start(HERE / "killed_mine.py", clips, out, mode, first, stride, *rest)
    printed, errors = process.communicate(timeout=800)
    assert process.returncode == 0, errors
    return [out / f"{number:05d}" for number in range(int(printed.split()[-1]))]


def is_finished(out):
    """The shards that the ledger vouches for, and nothing vouched for is lacking."""
    shards = {}
    for path in (out / "ledger").glob("[0-9a-f]*.json") if out.exists() else ():
        entry = json.loads(path.read_text())
        if entry["pairs"]:
            shard = out / f"{entry['sha256'][:16]}.tar"
            assert len(read_shard(shard)) == entry["pairs"]
            shards[shard.name] = shard.read_bytes()
    return shards


@pytest.mark.parametrize(
    ("stride", "rest"),
    [
        (211, []),
        pytest.param(11, [], marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
        pytest.param(31, ["write"], marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
@pytest.mark.parametrize("mode", ["first", "again", "more"])
def test_after_a_kill_at_any_step_the_next_run_gives_the_same_bytes(
    mode, stride, rest, clips, content, tmp_path
):
    folders = run_killed(clips, tmp_path / "out", mode, 1, stride, *rest)
    whole = content(tmp_path / "out" / "whole" / "after")
    assert len([name for name in whole if name.endswith(".tar")]) == 3
    assert len(folders) > 300 / stride
    old = is_finished(tmp_path / "out" / "template") if mode != "first" else {}
    seen = set()
    for folder in folders:
        finished = is_finished(folder / "killed")
        seen.add(len(finished))
        for name, shard in finished.items():
            assert shard == whole[name] or shard == old[name]
        if mode == "more":
            assert old.items() <= finished.items()
        assert content(folder / "after") == whole
    assert len(seen) > 1 or stride > 100  # a few kills may all hit the same phase


@pytest.mark.parametrize(
    "stride", [7, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_after_a_kill_a_video_is_forgotten_or_whole(stride, clips, content, tmp_path):
    folders = run_killed(clips, tmp_path / "out", "forget", 1, stride)
    template = content(tmp_path / "out" / "template")
    forgotten = content(tmp_path / "out" / "whole" / "after")
    assert len([name for name in forgotten if name.endswith(".tar")]) == 2
    assert len([name for name in template if name.endswith(".tar")]) == 3
    seen = set()
    for folder in folders:
        after = content(folder / "after")
        assert after in (template, forgotten)
        seen.add(after == forgotten)
    assert seen == {True, False}


def kill_when(condition, clips, out, *, workers_too=True):
    """Start `vr mine` with two workers, and kill it when the condition holds.

    Workers that are not killed have to end by themselves: they hold the pipes.
    """
    process = start("-c", COMMAND, clips, "--out", out, start_new_session=True)
    end = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    was_running = process.poll() is None
    if workers_too:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate(timeout=20)
    return was_running


@pytest.fixture(scope="session")
def commanded(clips, undisturbed, content, tmp_path_factory):
    """What `vr mine` gives when nothing happens: every file of OUT, the audit too."""
    out = tmp_path_factory.mktemp("commanded") / "p"
    process = start("-c", COMMAND, clips, "--out", out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    whole = content(out)
    assert undisturbed.items() <= whole.items()
    added = {"audit.json", "contact_sheet.png", "contact_sheet.html"}
    assert set(whole) - set(undisturbed) == added
    return whole


def check_resumed(clips, out, content, commanded):
    done = is_finished(out)
    assert done.items() <= commanded.items()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tar") if path.name in done}
    process = start("-c", COMMAND, clips, "--out", out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert content(out) == commanded
    keys = [stored.pair.key for stored in read_pairs(out)]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("pattern", "workers_too"),
    [
        (".parts/*/*.json", False),
        pytest.param(".parts/*/*.json", True, marks=pytest.mark.slow),
        pytest.param("ledger/*.json", True, marks=pytest.mark.slow),
    ],
)
def test_a_run_with_workers_is_killed_and_goes_on(
    pattern, workers_too, clips, content, commanded, tmp_path
):
    out = tmp_path / "p"
    assert kill_when(lambda: any(out.glob(pattern)), clips, out, workers_too=workers_too)
    check_resumed(clips, out, content, commanded)


def test_finished_parts_are_not_mined_again(
    clips, settings, segment_s, content, undisturbed, tmp_path, monkeypatch
):
    from toolkit.mining.work import unit

    out, mined = tmp_path / "p", []
    real = unit.mined_pairs

    def counted(frames, settings, tally):
        mined.append(tally)
        return real(frames, settings, tally)

    def stopped(*given):
        if len(mined) == 4:
            raise KeyboardInterrupt
        return counted(*given)

    monkeypatch.setattr(unit, "mined_pairs", stopped)
    with pytest.raises(KeyboardInterrupt):
        mine([clips], out, settings, None, How(segment_s=segment_s))
    monkeypatch.setattr(unit, "mined_pairs", counted)
    mine([clips], out, settings, None, How(segment_s=segment_s))
    assert len(mined) == 6
    assert content(out) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(12))
def test_a_run_with_workers_is_killed_at_any_time_twice(seed, clips, content, commanded, tmp_path):
    draw, out = random.Random(seed), tmp_path / "p"
    for _ in range(2):
        at = time.monotonic() + draw.uniform(0.3, 6.0)
        kill_when(lambda at=at: time.monotonic() > at, clips, out, workers_too=seed % 2 == 0)
    check_resumed(clips, out, content, commanded)
