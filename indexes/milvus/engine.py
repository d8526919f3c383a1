"""Milvus's embedded engine: a process beside this one, that keeps its data in one file."""

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from indexes.sources import printable
from toolkit.errors import StorageError
from toolkit.lock import writing
from toolkit.optional import require

FILE_NAME = "milvus.db"
_DOTENV = "PYTHON_DOTENV_DISABLED"


@dataclass(slots=True)
class _Running:
    """An engine of this process: its socket, how many use it, what is to be given back."""

    socket: str
    held: ExitStack
    users: int = 0


@dataclass(frozen=True, slots=True)
class _Engines:
    """The engines of this process by folder: all that opens a folder shares its one."""

    running: dict[Path, _Running] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)


_ENGINES = _Engines()


@contextmanager
def engine(folder: Path, wait_s: float = 0.0) -> Iterator[str]:
    """Run the engine on a folder, made where needed; gives the address of its socket.

    It serves one process at a time: raises StorageError where another has it for longer
    than `wait_s`, or it does not start; MissingError where it is not installed.
    """
    key = Path(os.path.realpath(folder))
    with _ENGINES.guard:
        if key not in _ENGINES.running:
            _ENGINES.running[key] = _start(key, folder, wait_s)
        running = _ENGINES.running[key]
        running.users += 1
    try:
        yield running.socket
    finally:
        with _ENGINES.guard:
            running.users -= 1
            if not running.users:
                del _ENGINES.running[key]
                running.held.close()


def _start(key: Path, folder: Path, wait_s: float) -> _Running:
    servers = _servers()
    _check_target(folder)
    path = str(key / FILE_NAME)
    with ExitStack() as held:
        _lock(held, folder, wait_s)
        with _deaf_to_ctrl_c():
            socket = servers.start_and_get_uri(path)
        if socket is None:
            raise StorageError(
                f"The embedded Milvus does not start on {printable(folder)}.",
                mend="Look at what it wrote above; is another program using the folder?",
            )
        held.callback(servers.release_server, path)
        return _Running(str(socket), held.pop_all())


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started in the block do not hear Ctrl-C: what is finished must still get in.

    The terminal sends it to all of them; this one hears it after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_target(folder: Path) -> None:
    """Raises StorageError where there is something else than the data of an engine."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(
            f"{printable(folder)} is a file.", mend="Give milvus:FOLDER, a folder for Milvus."
        )
    if not folder.exists() or (folder / FILE_NAME).exists():
        return
    foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if foreign:
        raise StorageError(
            f"{printable(folder)} holds no Milvus, and it is not empty: {printable(foreign[0])}.",
            mend="Choose an empty folder, or a new one.",
        )


def _servers() -> Any:
    _import_quietly("milvus_lite")
    from milvus_lite.server_manager import server_manager_instance

    return server_manager_instance


def _lock(held: ExitStack, folder: Path, wait_s: float) -> None:
    try:
        held.enter_context(writing(folder, f"the index milvus:{printable(folder)}", wait_s))
    except StorageError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        raise StorageError(
            f"Another vr has milvus:{printable(folder)} open, and the embedded Milvus serves one "
            "at a time.",
            mend="Wait until it is done and try again, or run a Milvus server.",
        ) from error


def import_pymilvus() -> ModuleType:
    """The client's package. Raises MissingError where it is not installed."""
    import logging

    pymilvus = _import_quietly("pymilvus")
    # It logs every error with its traceback; what it raises says the same.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return pymilvus


def _import_quietly(name: str) -> ModuleType:
    """Import without pkg_resources' warning, and without the settings of a file named .env."""
    before = os.environ.get(_DOTENV)
    os.environ[_DOTENV] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            return require(name)
    finally:
        if before is not None:
            os.environ[_DOTENV] = before
        else:
            with suppress(KeyError):
                del os.environ[_DOTENV]
