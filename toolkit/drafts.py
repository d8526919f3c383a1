"""The hidden siblings in which files and folders come to be, and what is left of them by a kill.

A draft of NAME is `.NAME.HOST-PID.RANDOM`; a folder that is about to be replaced is moved
aside to the draft's name with `.old` behind it. Whoever writes NAME next sweeps what no
living process owns, and a NAME that was moved aside and not yet replaced comes back.
"""

import os
import platform
import re
import secrets
import shutil
import time
import zlib
from contextlib import suppress
from pathlib import Path

_ASIDE = ".old"
_OWNER = re.compile(r"([0-9a-f]{8})-(\d+)\.[^.]+")
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_FOREIGN_S = 24 * 3600.0  # whether a process of another machine lives cannot be asked: wait
_open: set[str] = set()  # ours; a process in a container may have the number of its forerunner


def new_draft(target: Path, *, folder: bool = False) -> Path:
    """An empty sibling of `target`, owned by this process until `close_draft`."""
    name = f".{target.name}.{_HOST}-{os.getpid()}.{secrets.token_hex(4)}"
    draft = target.with_name(name)
    _open.add(name)
    if folder:
        draft.mkdir(mode=0o700)
    else:
        draft.touch(mode=0o600, exist_ok=False)
    return draft


def close_draft(draft: Path) -> None:
    """Give the draft up: remove it where it has not become its target."""
    _remove(draft)
    _open.discard(draft.name)


def replace_folder(draft: Path, target: Path) -> None:
    """Put the draft in the place of `target`; on failure the old one is there again."""
    aside = draft.with_name(draft.name + _ASIDE)
    if target.exists():
        target.replace(aside)
    try:
        draft.replace(target)
    except BaseException:
        if aside.exists():
            aside.replace(target)
        raise
    _remove(aside)


def recover(target: Path) -> None:
    """Give `target` its name again where a kill came between moving it aside and replacing it."""
    if os.path.lexists(target):
        return
    aside = [path for path in _abandoned(target) if path.name.endswith(_ASIDE)]
    if aside:
        max(aside, key=_changed_s).replace(target)


def sweep(target: Path) -> None:
    """Recover `target`, then remove the drafts of it that no living process owns."""
    recover(target)
    for path in _abandoned(target):
        _remove(path)


def _abandoned(target: Path) -> list[Path]:
    prefix = f".{target.name}."
    try:
        names = os.listdir(target.parent)  # noqa: PTH208 - a folder may hold very many files
    except OSError:  # no such folder, or not ours to read: nothing of it can be told
        return []
    paths = [target.parent / name for name in names if name.startswith(prefix)]
    return [path for path in paths if _is_abandoned(path, path.name.removeprefix(prefix))]


def _is_abandoned(path: Path, rest: str) -> bool:
    owner = _OWNER.fullmatch(rest.removesuffix(_ASIDE))
    if owner is None:  # a hidden file of somebody else
        return False
    host, process = owner[1], int(owner[2])
    if host != _HOST:
        return time.time() - _changed_s(path) > _FOREIGN_S
    if process == os.getpid():
        return path.name.removesuffix(_ASIDE) not in _open
    return not _lives(process)


def _changed_s(path: Path) -> float:
    """When it was last changed; now, where it is just going away."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; or no number of a process
        return True
    return True


def _remove(path: Path) -> None:
    # What cannot be removed stays a hidden file, which the next writer tries again.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
