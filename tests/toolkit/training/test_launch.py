"""Starting, stopping and ending the processes of a run, with stand-ins that learn nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from toolkit.errors import Interrupted, MissingError, StorageError, TrainingError
from toolkit.training import launch as launching
from toolkit.training.launch import (
    PeerLostError,
    ProcessError,
    check_gpus,
    errors_to_launcher,
    launch,
)

# What each process does is a line of Python with these names.
STAND_IN = """
    import json, os, pathlib, signal, sys, time
    rank = int(os.environ["RANK"])
    here = pathlib.Path(sys.argv[1])

    def fail(code, problem):
        content = {"problem": problem, "mend": "mend it", "exit_code": code}
        (pathlib.Path(os.environ["VR_FAILURES"]) / f"{rank}.json").write_text(json.dumps(content))
        sys.stdout.flush()
        os._exit(code)

    (here / f"{rank}.pid").write_text(str(os.getpid()))
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Launch stand-ins that do what `body` says."""
    monkeypatch.syspath_prepend(tmp_path)
    number = iter(range(9))

    def started(body, count=2):
        module = f"stand_in_{tmp_path.name}_{next(number)}"
        text = textwrap.dedent(STAND_IN) + textwrap.dedent(body)
        (tmp_path / f"{module}.py").write_text(text)
        return launch(count, module, [str(tmp_path)])

    yield started
    assert not [pid for pid in pids(tmp_path) if alive(pid)]


def pids(folder):
    return [int(path.read_text() or 0) for path in folder.glob("*.pid")]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_process_learns_its_place(start, tmp_path):
    names = "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
    assert start(f"(here / f'{{rank}}.env').write_text(' '.join(os.environ[n] for n in {names}))",
                 count=3) == 0  # fmt: skip
    places = [(tmp_path / f"{rank}.env").read_text().split() for rank in range(3)]
    assert [place[:4] for place in places] == [[str(r), str(r), "3", "3"] for r in range(3)]
    assert len({tuple(place[4:]) for place in places}) == 1


def test_only_the_first_process_is_heard(start, capfd):
    assert start("print('out', rank); print('err', rank, file=sys.stderr)") == 0
    heard = capfd.readouterr()
    assert (heard.out, heard.err) == ("out 0\n", "err 0\n")


@pytest.mark.parametrize("culprit", [0, 1])
def test_the_error_of_one_ends_all_and_comes_back(start, culprit, monkeypatch):
    monkeypatch.setattr(launching, "_GRACE_S", 0.3)
    before = time.monotonic()
    with pytest.raises(ProcessError, match=r"it does not fit\. mend it") as raised:
        start(f"fail(5, 'it does not fit.') if rank == {culprit} else time.sleep(60)")
    assert raised.value.exit_code == 5
    assert time.monotonic() - before < 30


def test_who_only_lost_another_has_nothing_to_tell(start):
    lost = PeerLostError.exit_code
    with pytest.raises(ProcessError, match="the disk is full") as raised:
        start(f"""
            if rank == 1:
                time.sleep(0.5)
            fail(*((1, 'the disk is full.') if rank == 1 else ({lost}, 'lost')))
        """, count=3)  # fmt: skip
    assert raised.value.exit_code == 1


def test_a_killed_process_is_named(start):
    body = f"""
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        fail({PeerLostError.exit_code}, 'lost')
    """
    with pytest.raises(TrainingError, match="Process 2 of 2 was ended by SIGKILL"):
        start(body)


def test_the_traceback_of_a_bug_is_shown_once(start, capfd):
    assert start("1 / (1 - rank)") == 1
    assert capfd.readouterr().err.count("ZeroDivisionError") == 1


def test_one_ctrl_c_asks_once_and_a_second_kills(start, tmp_path):
    obedient = """
        signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), fail(130, 'stopped.')))
        (here / f"{rank}.ready").touch()
        while True:
            time.sleep(0.05)
    """
    with interrupted_when_ready(tmp_path, times=1), pytest.raises(ProcessError) as raised:
        start(obedient)
    assert raised.value.exit_code == 130
    stubborn = obedient.replace("fail(130, 'stopped.')", "None")
    for path in tmp_path.glob("*.ready"):
        path.unlink()
    with interrupted_when_ready(tmp_path, times=2), pytest.raises(Interrupted):
        start(stubborn)


def interrupted_when_ready(folder, times):
    """Ctrl-C for this process once both stand-ins listen, and again after a while."""

    def send():
        deadline = time.monotonic() + 30
        while len(list(folder.glob("*.ready"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    thread = threading.Thread(target=send)

    class Sending:
        def __enter__(self):
            thread.start()

        def __exit__(self, *_):
            thread.join()

    return Sending()


def test_a_ctrl_c_of_the_terminal_is_not_heard_by_the_processes_themselves(start, tmp_path):
    assert start("assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN") == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_more_gpus_than_there_are(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    check_gpus(1, "auto")
    check_gpus(8, "cpu")
    for device in ("auto", "cuda"):
        with pytest.raises(MissingError, match="--gpus 2 cannot be had: torch finds 1 here"):
            check_gpus(2, device)


def test_errors_go_their_way_where_nobody_launched(monkeypatch):
    monkeypatch.delenv("VR_FAILURES", raising=False)
    with pytest.raises(StorageError), errors_to_launcher():
        raise StorageError("full")


@pytest.mark.parametrize(
    ("raised", "code", "problem"),
    [
        ("MismatchError('a', mend='b')", 5, "a"),
        ("KeyboardInterrupt", 130, "Interrupted."),
        ("ValueError('bug')", 1, None),
    ],
)
def test_errors_are_left_for_the_launcher(tmp_path, raised, code, problem):
    program = (
        "from toolkit.errors import MismatchError\n"
        "from toolkit.training.launch import errors_to_launcher\n"
        f"with errors_to_launcher():\n    raise {raised}\n"
    )
    environment = os.environ | {"VR_FAILURES": str(tmp_path), "RANK": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=120
    )
    assert done.returncode == code
    left = tmp_path / "3.json"
    if problem is None:
        assert b"ValueError: bug" in done.stderr
        assert not left.exists()
    else:
        assert done.stderr == b""
        assert json.loads(left.read_text())["problem"] == problem
