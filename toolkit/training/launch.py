"""`vr train --gpus N`: start the processes of a run, wait for them, and end them together.

Only the first process speaks. Whatever goes wrong in any of them comes back here as one error
with one exit code, and no process outlives this one.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from toolkit.errors import Interrupted, MissingError, TrainingError, VrError
from toolkit.workspace import read_json, write_json

PARENT = "VR_LAUNCHER"  # the launcher's process id; its processes end when it does
FAILURES = "VR_FAILURES"  # the folder where the processes leave their errors
_POLL_S = 0.05
# How long the others have to notice that one has failed. On GPUs they may never: they wait
# for what will not be sent.
_GRACE_S = 10.0
_GO_ON = "What was saved can be taken up again with --resume."
_INTERRUPTED = Interrupted("Interrupted.", mend="What was finished is kept.")

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


class PeerLostError(TrainingError):
    """Another process of the run has ended, so that this one cannot go on.

    The exit code is between a process and its launcher: the reason is the other one's.
    """

    exit_code = 75


class ProcessError(VrError):
    """The error of one process, with its exit code, as the launcher raises it."""

    def __init__(self, problem: str, mend: str, exit_code: int) -> None:
        super().__init__(problem, mend=mend)
        self.exit_code = exit_code  # type: ignore[misc]


def launch(count: int, module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module arguments` in `count` processes of this machine.

    Each has its place in its environment as torchrun sets it, and the first has this one's
    output. Returns 0, or 1 where one ended by a bug, whose traceback was shown. Raises what
    a process failed with. Ctrl-C and SIGTERM are passed on once, for the run to be saved; the
    second time all are killed.
    """
    with tempfile.TemporaryDirectory(prefix="vr-launch-") as folder:
        group = _Group(Path(folder))
        try:
            # Ctrl-C at a terminal goes to all processes in it. These inherit that they do not
            # hear it, so that each learns of it once, from here.
            with _handled(signal.SIGINT, signal.SIG_IGN):
                group.start(count, module, arguments)
            with _handled(signal.SIGINT, group.stop), _handled(signal.SIGTERM, group.stop):
                group.wait()
        finally:
            group.kill()
        return group.outcome()


def check_gpus(count: int, device: str) -> None:
    """Raise MissingError unless there are so many GPUs, or the processor was asked for."""
    if device == "cpu":
        return
    import torch

    there = torch.cuda.device_count()
    if there < count:
        raise MissingError(
            f"--gpus {count} cannot be had: torch finds {there} here.",
            mend="Use fewer; with --device cpu so many processes train on the processor.",
        )


@contextmanager
def errors_to_launcher() -> Iterator[None]:
    """In a process that `launch` started: an error is left for it, and ends this process.

    It ends on the spot: to take down connections to processes that are gone may hang. In any
    other process errors go their way.
    """
    folder = os.environ.get(FAILURES)
    if folder is None:
        yield
        return
    try:
        yield
    except VrError as error:
        _leave(error, Path(folder))
    except KeyboardInterrupt:
        _leave(_INTERRUPTED, Path(folder))
    except Exception:
        traceback.print_exc()
        _end(1)


def _leave(error: VrError, folder: Path) -> NoReturn:
    content = {"problem": error.problem, "mend": error.mend, "exit_code": error.exit_code}
    write_json(folder / f"{os.environ['RANK']}.json", content)
    _end(error.exit_code)


def _end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Group:
    """The processes, in the order of their ranks; `folder` holds what they leave behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ended: list[int] = []  # ranks, in the order in which they failed
        self.stops = 0

    def start(self, count: int, module: str, arguments: Sequence[str]) -> None:
        # -P: a folder named as one of our packages, where the user happens to be, is not ours.
        command = [sys.executable, "-P", "-m", module, *arguments]
        environment = _environment(count, module, self.folder)
        for rank in range(count):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            self.processes.append(self._started(rank, command, environment | place))

    def _started(
        self, rank: int, command: list[str], environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        if rank == 0:
            return subprocess.Popen(command, env=environment)
        with self._said(rank).open("wb") as said:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def _left(self, rank: int) -> Path:
        return self.folder / f"{rank}.json"

    def _said(self, rank: int) -> Path:
        return self.folder / f"{rank}.stderr"

    def wait(self) -> None:
        """Until all have ended, or for a while after the first has failed."""
        deadline = None
        while any(process.poll() is None for process in self.processes):
            self._note_failures()
            if self.ended and deadline is None:
                deadline = time.monotonic() + _GRACE_S
            if self.stops > 1 or (deadline is not None and time.monotonic() > deadline):
                return
            time.sleep(_POLL_S)
        self._note_failures()

    def _note_failures(self) -> None:
        for rank, process in enumerate(self.processes):
            if process.poll() not in (None, 0) and rank not in self.ended:
                self.ended.append(rank)

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Ask all to stop after the same step; the second time there is no asking."""
        self.stops += 1
        for process in self.processes:
            if self.stops == 1 and process.poll() is None:
                process.terminate()

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def outcome(self) -> int:
        """0, or 1 after a bug. Raises the error of the process that failed first."""
        if self.stops > 1:
            raise _INTERRUPTED
        # Those that only lost another one have nothing to tell.
        told = [rank for rank in self.ended if self._code(rank) != PeerLostError.exit_code]
        left = [path for rank in sorted(told) if (path := self._left(rank)).exists()]
        if left:
            raise ProcessError(**read_json(left[0], "error record"))
        if self.stops:
            raise _INTERRUPTED
        if told:
            return self._unexplained(told[0])
        if self.ended:
            raise TrainingError("The processes of the run lost each other.", mend=_GO_ON)
        return 0

    def _unexplained(self, rank: int) -> int:
        code = self._code(rank)
        if code < 0:
            name = signal.Signals(-code).name
            why = " (perhaps the memory was full)" if name == "SIGKILL" else ""
            raise TrainingError(
                f"Process {rank + 1} of {len(self.processes)} was ended by {name}{why}.",
                mend=_GO_ON,
            )
        if rank > 0:
            sys.stderr.write(self._said(rank).read_text(errors="replace"))
        return code

    def _code(self, rank: int) -> int:
        code = self.processes[rank].returncode
        assert code is not None
        return code


@contextmanager
def _handled(number: int, handler: Handler) -> Iterator[None]:
    """A signal handled so for a while; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _environment(count: int, module: str, folder: Path) -> dict[str, str]:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    root = str(Path(spec.origin).resolve().parents[module.count(".")])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return {
        "OMP_NUM_THREADS": threads,  # unless the user has said otherwise
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        PARENT: str(os.getpid()),
        FAILURES: str(folder),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
