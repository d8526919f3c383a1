"""The lock beside a file or folder: one holder, none after a kill, nothing left behind."""

import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.errors import StorageError
from toolkit.lock import holding

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from toolkit.lock import holding
with holding(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_only_one_holds_it_and_nothing_is_left(tmp_path):
    target = tmp_path / "runs" / "a"  # neither of them is there
    with holding(target, "the run"):
        with (
            pytest.raises(StorageError, match="Another vr is writing the run"),
            holding(target, "the run"),
        ):
            pytest.fail("two held it")
        with holding(tmp_path / "runs" / "b", "another"):
            pass
    with holding(target, "the run"):
        pass
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_error_gives_it_up(tmp_path):
    with pytest.raises(ZeroDivisionError), holding(tmp_path / "a", "it"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_kept_out_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(StorageError, match="Another vr"), holding(tmp_path / "a", "it"):
                pytest.fail("two held it")
        finally:
            process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".a.lock").exists()  # what a kill leaves is in nobody's way
    with holding(tmp_path / "a", "it"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_its_last_holder_removed_is_no_lock(tmp_path, monkeypatch):
    """Opened before the last one let go, and locked after it: another could take the name."""
    target, flock, taken = tmp_path / "a", fcntl.flock, []

    def removed_first(handle, how):
        if not taken:
            (tmp_path / ".a.lock").unlink()
        taken.append(handle)
        return flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with holding(target, "it"):
        assert len(taken) == 2
        with pytest.raises(StorageError, match="Another vr"), holding(target, "it"):
            pytest.fail("two held it")


def test_of_many_threads_one_at_a_time_holds_it(tmp_path):
    inside, most, refused = [], [], []

    def tries():
        for _ in range(200):
            try:
                with holding(tmp_path / "a", "it"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except StorageError:
                refused.append(1)

    threads = [threading.Thread(target=tries) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) + len(refused) == 1200
    assert list(tmp_path.iterdir()) == []
