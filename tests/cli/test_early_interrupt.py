"""Ctrl-C while `vr` starts: 130 and a short line, whenever it comes."""

import json
import signal
import time

import pytest

# The process says when its first line of ours has run; before that Python alone is at work.
READY = "import os, cli.main; os.write(2, b'ready\\n')"
STARTING_MS = range(3, 400, 44)


def interrupted(vr_process, after_s, *arguments, number=signal.SIGINT):
    process = vr_process(*arguments, code=READY)
    assert process.stderr.readline() == "ready\n"
    time.sleep(after_s)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def check(code, out, err):
    """130 with the line, or all was done and told before the signal came."""
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    if code == 130:
        assert err in ("error: Interrupted.\n", LONGER)
        told = json.loads(out)
        assert (told["error"], told["exit_code"]) == ("Interrupted.", 130)
        assert out.count("\n") == 1
    else:  # the error of a folder without an index; the process may be on its way out
        assert code in (1, -signal.SIGINT)
        assert json.loads(out)["exit_code"] == 1


LONGER = "error: Interrupted.\n       What was finished is kept.\n"


@pytest.mark.parametrize("after_ms", STARTING_MS)
def test_ctrl_c_while_it_starts(vr_process, empty, after_ms):
    check(*interrupted(vr_process, after_ms / 1000, "index", "info", "--json"))


def test_the_first_moment_is_always_130(vr_process, empty):
    for arguments in ([], ["--json"], ["--", "--json"]):
        code, out, err = interrupted(vr_process, 0.02, "index", "info", *arguments)
        assert (code, err) == (130, "error: Interrupted.\n")
        assert (out == "") is (arguments != ["--json"])


def test_a_polite_kill_is_heard_as_early(vr_process, empty):
    code, _, err = interrupted(vr_process, 0.02, "index", "info", number=signal.SIGTERM)
    assert (code, err) == (130, "error: Interrupted.\n")


def test_who_ignores_ctrl_c_goes_on(vr_process, empty):
    """As a shell starts what runs in the background."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    process = vr_process("index", "info", "--json", code=f"{ignore}; {READY}")
    assert process.stderr.readline() == "ready\n"
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "There is no index" in json.loads(out)["error"]


@pytest.mark.slow  # a hundred processes, each interrupted a little later than the last
def test_ctrl_c_at_each_moment(vr_process, empty):
    begun = time.monotonic()
    process = vr_process("index", "info", "--json")
    process.communicate(timeout=60)
    assert process.returncode == 1
    whole_s = time.monotonic() - begun
    for part in range(1, 101):
        check(*interrupted(vr_process, whole_s * part / 80, "index", "info", "--json"))
