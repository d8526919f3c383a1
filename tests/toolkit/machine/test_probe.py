"""Packages that crash, hang or lie, each imported in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.machine.probe import ask, ask_all
from toolkit.machine.questions import TINY_ONNX

Write = Callable[[str, str], str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module that the processes see, as they see everything on our own path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code)
        return name

    return write


def test_a_good_package(package: Write) -> None:
    answer = ask(package("good", "import time; time.sleep(0.05)"))
    assert answer.problem == ""
    assert 0.05 <= answer.seconds < 10


def test_a_package_that_is_not_there() -> None:
    assert ask("no_such_package").problem == (
        "ModuleNotFoundError: No module named 'no_such_package'"
    )


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise OSError('libcudart.so.13: cannot open')", "OSError: libcudart.so.13: cannot open"),
        ("import os; os.kill(os.getpid(), 11)", "the process was killed by SIGSEGV"),
        ("import os; os.abort()", "the process was killed by SIGABRT"),
        ("import os; os._exit(3)", "the process ended with code 3"),
        ("import os; os._exit(0)", "the process ended without an answer"),
        ("raise SystemExit(4)", "the process ended with code 4"),
        (
            "import os, sys; sys.stderr.write('a\\nFatal: no\\n'); sys.stderr.flush(); os.abort()",
            "the process was killed by SIGABRT: Fatal: no",
        ),
        (
            "import atexit, os; atexit.register(lambda: os.kill(os.getpid(), 11))",
            "the process was killed by SIGSEGV, after it had answered",
        ),
        ("raise ValueError('one\\n  two\\t' + 'x' * 1000)", f"ValueError: one two {'x' * 280} ..."),
    ],
    ids=[
        "raises", "segfaults", "aborts", "leaves", "leaves in silence", "exits", "says why",
        "crashes at its end", "raises pages",
    ],
)  # fmt: skip
def test_a_broken_package(code: str, problem: str, package: Write) -> None:
    answer = ask(package("broken", code))
    assert answer.problem == problem
    assert answer.details == {}


def test_a_package_that_hangs_is_ended_with_all_that_it_started(
    package,
    tmp_path: Path,
) -> None:
    note = tmp_path / "pids"
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(note)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    begun = time.monotonic()
    answer = ask(package("hangs", code), timeout_s=3)
    assert answer.problem == "it does not answer within 3 s"
    assert time.monotonic() - begun < 20
    for pid in map(int, note.read_text().split()):
        deadline = time.monotonic() + 10
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_what_a_package_prints_is_no_answer(
    package: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = ask(package("loud", "import os; os.write(1, b'{}' * 100_000); print('hello')"))
    assert answer.problem == ""
    assert capfd.readouterr() == ("", "")


def test_the_current_folder_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert ask("string").problem == ""


def test_several_questions_keep_their_answers_apart(package: Write) -> None:
    good, bad = package("good_one", ""), package("bad_one", "raise OSError('no')")
    answers = ask_all([bad, good, "no_such_package"], workers=2)
    assert list(answers) == [bad, good, "no_such_package"]
    assert [bool(answer.problem) for answer in answers.values()] == [True, False, True]


def test_no_questions() -> None:
    assert ask_all([], workers=2) == {}


def test_the_tiny_model_is_a_valid_one() -> None:
    import onnx

    model = onnx.ModelProto.FromString(TINY_ONNX)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Neg"]


def test_the_provider_that_is_always_there_loads() -> None:
    assert ask("provider:CPUExecutionProvider").problem == ""


def test_a_provider_that_does_not_start_is_noticed(package: Write) -> None:
    """A stand-in of onnxruntime, which only logs and takes the processor instead."""
    package(
        "onnxruntime",
        """
import sys
def set_default_logger_severity(level): pass
class InferenceSession:
    def __init__(self, model, providers): sys.stderr.write("libcublas.so.13 is not there\\n")
    def get_providers(self): return ["CPUExecutionProvider"]
""",
    )
    assert ask("provider:CUDAExecutionProvider").problem == (
        "RuntimeError: it does not start, and ONNX Runtime goes on without it: "
        "libcublas.so.13 is not there"
    )


def test_a_faiss_that_finds_the_wrong_thing_is_broken(package: Write) -> None:
    package(
        "faiss",
        """
import numpy as np
class IndexFlatIP:
    def __init__(self, dim): pass
    def add(self, vectors): pass
    def search(self, queries, k): return None, np.zeros((2, 1), int)
""",
    )
    assert ask("faiss").problem == "RuntimeError: it finds [0, 0] where [0, 1] is nearest"


def test_a_tensorrt_that_finds_no_gpu_says_why(package: Write) -> None:
    """A stand-in of TensorRT's module, whose factory returns a null pointer without a GPU."""
    package(
        "tensorrt",
        """
class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)
def Builder(logger):
    logger.log(ILogger.WARNING, "not this")
    logger.log(ILogger.ERROR, "CUDA error 35 ")
    raise TypeError("factory function returned nullptr")
""",
    )
    answer = ask("tensorrt")
    assert answer.problem == ""
    assert answer.details == {"builds": False, "reason": "CUDA error 35"}


def test_the_real_packages_answer() -> None:
    answers = ask_all(["PIL", "safetensors", "faiss", "gpus", "ffmpeg"], workers=2)
    assert [answer.problem for answer in answers.values()] == [""] * 5
    assert answers["faiss"].details["gpus"] >= 0
    assert isinstance(answers["gpus"].details["gpus"], list)


def test_ctrl_c_leaves_no_process(package: Write, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    package(
        "hangs",
        f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)",
    )
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.path.insert(0, {str(tmp_path)!r}); "
        "from toolkit.machine.probe import ask_all; ask_all(['hangs', 'PIL'], 1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (note.is_file() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, 2)
    process.wait(30)
    pid = int(note.read_text())
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)
