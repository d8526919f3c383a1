"""Questions to processes of their own: what crashes, hangs or speaks there harms nothing here."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from toolkit.machine.questions import WITHOUT_IT

# The child sees the packages that this process sees, and not those of the current folder.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from toolkit.machine.questions import main; main(sys.argv[1:])"
)
_MAX_PROBLEM = 300  # characters; some packages raise pages
TIMEOUT_S = 30.0
_LOOK_EACH_S = 0.2  # whether somebody pressed Ctrl-C


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question. problem: why there are no details, else empty."""

    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


def ask_all(
    questions: Iterable[str], workers: int, timeout_s: float = TIMEOUT_S
) -> dict[str, Answer]:
    """The answers by their questions; `workers` processes at once, each with its own time."""
    asked, stop = list(questions), threading.Event()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            answers = list(pool.map(lambda question: _ask(question, timeout_s, stop), asked))
        except BaseException:  # Ctrl-C: leaving the pool would wait for all that hangs
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return dict(zip(asked, answers, strict=True))


def ask(question: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask one question of `toolkit.machine.questions` in a process of its own."""
    return _ask(question, timeout_s, threading.Event())


def _ask(question: str, timeout_s: float, stop: threading.Event) -> Answer:
    with (
        tempfile.TemporaryDirectory(prefix="vr-doctor-") as folder,
        # Files, not pipes: what the child leaves running cannot hold them against us.
        tempfile.TemporaryFile() as said,
    ):
        target = Path(folder) / "answer.json"
        command = [sys.executable, "-P", "-W", "ignore", "-c", _CHILD, json.dumps(sys.path)]
        child = subprocess.Popen(
            [*command, question, str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = _wait(child, timeout_s, stop)
        finally:
            _end(child)
        if code is None:
            return Answer(problem=f"it does not answer within {timeout_s:g} s")
        return _read(target, code, said)


def _wait(child: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event) -> int | None:
    """The exit code, or None where the time is up or nobody wants to know any more."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and not stop.is_set():
        try:
            return child.wait(_LOOK_EACH_S)
        except subprocess.TimeoutExpired:
            continue
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, whatever interrupted us."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()


def _read(target: Path, code: int, said: IO[bytes]) -> Answer:
    if code != 0:
        when = ", after it had answered" if target.is_file() else ""
        return Answer(problem=f"{_say_end(code)}{when}{_last_words(said)}")
    if not target.is_file():
        return Answer(problem=f"the process ended without an answer{_last_words(said)}")
    content = json.loads(target.read_bytes())
    if "problem" in content:
        # What ONNX Runtime says of a provider that does not start, it says there alone.
        words = _last_words(said) if content["problem"].endswith(WITHOUT_IT) else ""
        return Answer(problem=_shorten(content["problem"] + words))
    return Answer(content["details"], float(content["seconds"]))


def _say_end(code: int) -> str:
    if code >= 0:
        return f"the process ended with code {code}"
    try:
        return f"the process was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"the process was killed by signal {-code}"


def _last_words(said: IO[bytes]) -> str:
    """The end of what a child wrote to its stderr, as the end of a sentence."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - 2000))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return f": {_shorten(lines[-1])}" if lines else ""


def _shorten(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= _MAX_PROBLEM else f"{line[:_MAX_PROBLEM]} ..."
