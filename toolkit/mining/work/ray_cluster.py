"""The nodes of a Ray cluster as workers, over storage that all of them share.

A task mines a unit into a part, as a worker process does, so a task that Ray does again
because its node was lost writes the same bytes to the same place. Only the driver, which
holds the lock of OUT, makes shards and ledger entries of the parts.
"""

import math
import os
import platform
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from toolkit import lock
from toolkit.errors import StorageError, UsageError, VrError
from toolkit.mining.work.jobs import Done, Job, Trouble, attempt
from toolkit.mining.work.parts import Part
from toolkit.mining.work.survey import Survey, Surveyed
from toolkit.optional import require

_RETRIES = 3  # of a task whose node or process was lost
_QUEUED = 2  # tasks for each processor, so that none waits for the driver
_LOOK_S = 5.0  # between two looks at what the cluster has become
_REACH_S = 10.0
_MOUNT = "Mount the same storage on every node, at the same path."


class RayCluster:
    """Gives jobs to the cluster at `address`, as `ray start` prints it, or "auto".

    Raises MissingError without Ray, UsageError for an address that can be none, VrError
    where the cluster cannot be reached. The lock of OUT has to be held.
    """

    def __init__(self, address: str, out: Path) -> None:
        self.notes: list[str] = []
        self._nodes: dict[str, str] = {}
        self._ray = require("ray")
        _check(address)
        self._stack = ExitStack()
        self._token = secrets.token_hex(16)
        self._jobs: dict[Any, Job] = {}
        self._processors = 1
        self._looked_at = -math.inf
        try:
            self._stack.enter_context(_quiet())
            self._stack.enter_context(_marked(out, self._token))
            _connect(self._ray, address)
            self._stack.callback(self._ray.shutdown)
        except BaseException:
            self._stack.close()
            raise
        self._out = out
        self._task = self._ray.remote(_attempt).options(max_retries=_RETRIES, num_cpus=1)

    def free(self) -> int:
        """How many more tasks the cluster can take without too long a queue."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_S:  # nodes come and go
            self._looked_at = now
            self._processors = int(self._ray.cluster_resources().get("CPU", 0))
            self._note_losses()
        return max(1, _QUEUED * self._processors) - len(self._jobs)

    def _note_losses(self) -> None:
        for node in self._ray.nodes():
            name = self._nodes.get(node["NodeID"])
            if node["Alive"]:
                self._nodes[node["NodeID"]] = node["NodeManagerHostname"]
            elif name is not None:
                del self._nodes[node["NodeID"]]
                self.notes.append(f"the node {name} was lost; others did its work again")

    def start(self, job: Job) -> None:
        """Submit a job."""
        where = (str(Path.cwd()), str(self._out), self._token)
        self._jobs[self._task.remote(job, *where)] = job

    def next(self, timeout_s: float) -> Done | None:
        """The next job that is done. Raises VrError where the cluster is lost."""
        try:
            ready, _ = self._ray.wait(list(self._jobs), timeout=timeout_s)
        except (self._ray.exceptions.RaySystemError, ConnectionError) as error:
            raise VrError(
                f"The Ray cluster went away: {_first_line(error)}",
                mend="What was finished is kept; run it again when the cluster is back.",
            ) from error
        if not ready:
            return None
        return Done(self._jobs.pop(ready[0]), self._answer(ready[0]))

    def close(self) -> None:
        """Leave the cluster, which ends the tasks that are under way."""
        if self._ray.is_initialized():
            with suppress(self._ray.exceptions.RayError):  # gone altogether: it was told before
                self._note_losses()
        self._jobs.clear()
        self._stack.close()

    def _answer(self, task: Any) -> Surveyed | Part | Trouble:
        try:
            answer: Surveyed | Part | Trouble = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return Trouble(
                None,
                f"The cluster gave it up, after {_RETRIES + 1} attempts: {_first_line(error)}",
                mend="If memory ran out, give the nodes fewer processors (ray start --num-cpus).",
            )
        return answer


def _attempt(job: Job, folder: str, out: str, token: str) -> Surveyed | Part | Trouble:
    """Do a job on a node of the cluster. Paths are taken as the driver in `folder` means them."""
    try:
        path = job.path if isinstance(job, Survey) else job.source.path
        if not (path.is_absolute() and Path(out).is_absolute()):
            os.chdir(folder)
        is_shared = (Path(out) / lock.FILE_NAME).read_text() == token
    except OSError:
        is_shared = False
    if not is_shared:
        node = platform.node()
        return Trouble(StorageError, f"On the node {node}, {out} is another folder.", _MOUNT)
    return attempt(job)


def _check(address: str) -> None:
    """Find out quickly what Ray finds out in minutes: whether somebody listens there."""
    if address == "auto":
        address = _remembered()
        if not address:  # it may find one all the same, and is quick to say that it does not
            return
    if "://" in address:
        raise UsageError(
            f"--ray {address} is the address of a remote client.",
            mend="Run vr mine on a machine of the cluster, with its HOST:PORT, or auto.",
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(
            f"--ray {address} is no address.",
            mend="Give HOST:PORT as ray start prints it, or auto.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _remembered() -> str:
    """The cluster that "auto" means, which may be long gone; empty where none is known."""
    folder = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray"
    with suppress(OSError):
        return os.environ.get("RAY_ADDRESS") or (folder / "ray_current_cluster").read_text().strip()
    return ""


def _connect(ray: Any, address: str) -> None:
    polite_kill = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
        if polite_kill is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, polite_kill)  # which Ray has taken for itself
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> VrError:
    where = "of this machine" if address == "auto" else f"at {address}"
    return VrError(
        f"The Ray cluster {where} cannot be reached: {_first_line(error)}",
        mend="Run ray start --head on one machine, and ray start --address HOST:PORT on every "
        "other, this one too.",
    )


def _first_line(error: Exception) -> str:
    """What an error says first, as a sentence; Ray's go on for pages."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".") + "."


@contextmanager
def _marked(out: Path, token: str) -> Iterator[None]:
    """Write into OUT's lock, which is ours, what tells a node that it sees the same folder."""
    mark = out / lock.FILE_NAME
    mark.write_text(token)
    try:
        yield
    finally:
        mark.write_text("")


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray prints pages on stdout when a node is lost, and keeps the same in its own logs."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
