"""Where the process matters: the console script, signals, and readers that go away."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAITS = """
import sys, time
import cli.commands.mine as mine
def wait(*given, **named):
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)
mine.mine_with_bar = wait
"""


def test_the_console_script_gives_the_exit_code(empty):
    script = Path(sys.executable).with_name("vr")
    if not script.is_file():
        pytest.skip("the project is not installed here (make setup)")
    done = subprocess.run([script, "mine", "--json"], capture_output=True, text=True)
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit_code"] == 1
    assert "Traceback" not in done.stderr


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_leaves_a_run_that_resume_takes_up(vr, vr_process, workspace):
    steps = []
    metrics = Path("runs/long/metrics.jsonl")
    settings = ("--steps", "100000", "--size", "32", "--batch-pairs", "4", "--workers", "0")
    for arguments in (settings, ("--resume", "--workers", "0")):
        before = lines(metrics)
        process = vr_process("train", *arguments, "--name", "long", "--json")
        wait_for(lambda before=before: lines(metrics) > before, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        told = json.loads(out)
        assert told["exit_code"] == 130
        assert "--resume" in told["mend"]
        steps.append(int(told["error"].split("step ")[1].split(" ")[0]))
    assert steps[1] > steps[0] > 0
    logged = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert logged == sorted(set(logged))  # the second sitting went on, it did not begin anew
    vr("export", "runs/long").fails(2, "not finished")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_130(vr_process, empty, number):
    process = vr_process("mine", "--json", code=WAITS)
    assert process.stderr.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away(vr_process, workspace, flags):
    read, write = os.pipe()
    os.close(read)
    process = vr_process("search", "image.jpg", *flags, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "Exception" not in err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_stdout(vr_process, workspace, flags):
    with Path("/dev/full").open("w") as full:
        process = vr_process("search", "image.jpg", *flags, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "standard output" in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["index"], []], ids=" ".join)
def test_help_on_a_full_stdout(vr_process, empty, words):
    with Path("/dev/full").open("w") as full:
        process = vr_process(*words, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "standard output: No space left" in err
    assert "Traceback" not in err


def test_a_closed_stdout_is_an_error(vr_process, workspace):
    process = vr_process("search", "image.jpg", stdout=None, preexec_fn=lambda: os.close(1))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "closed" in err
    assert "Traceback" not in err


def test_a_terminal_that_lacks_letters(vr_process, workspace):
    shutil.copy("image.jpg", "東京.jpg")
    process = vr_process("search", "東京.jpg", env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "\\u6771" in out


def test_no_terminal_means_no_progress_bar_and_no_colour(vr_process, workspace):
    process = vr_process("mine", "--remine")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\x1b" not in err
    assert "left" not in err


def test_a_pipe_in_a_folder_is_passed_over(vr, refuses, workspace):
    """It was once opened and waited on for ever."""
    Path("album").mkdir()
    os.mkfifo("album/pipe.mp4")
    os.mkfifo("album/pipe.jpg")
    shutil.copy("image.jpg", "album/image.jpg")
    Path("album/up").symlink_to("..")
    Path("album/circle.jpg").symlink_to("circle.jpg")
    refuses(1, ["mine", "album"], "no video")
    refuses(1, ["mine", "album/pipe.mp4"], "no plain file")
    refuses(1, ["index", "build", "album/pipe.jpg"], "no plain file")
    indexed = vr("index", "build", "album", "--json")
    assert (indexed.code, indexed.json["new_vectors"]) == (3, 1)
    assert [item["source"] for item in indexed.json["quarantined"]] == ["album/circle.jpg"]
