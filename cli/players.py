"""Opens a file at a moment with what this machine has: a player, else what the desktop takes."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from toolkit.errors import InputError

Command = list[str]

# Each takes an absolute path, which no player takes for a flag or an address.
_PLAYERS: dict[str, Callable[[str, float], Command]] = {
    "mpv": lambda path, at_s: [f"--start={at_s:.3f}", "--pause", "--", path],
    "vlc": lambda path, at_s: [f"--start-time={at_s:.3f}", "--", path],
    "ffplay": lambda path, at_s: ["-hide_banner", "-ss", f"{at_s:.3f}", "-i", path],
}
_DESKTOPS = ("xdg-open", "open")


def opening(source: str, time_s: float | None) -> Command | None:
    """The command that opens a source at a moment; None where this machine has nothing for it.

    Raises InputError where the file is not there.
    """
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"There is no file {source} to open.",
            mend="It was moved, or the index was built in another folder.",
        )
    absolute = str(path.absolute())
    if time_s is not None:
        for name, arguments in _PLAYERS.items():
            if shutil.which(name):
                return [name, *arguments(absolute, max(time_s, 0.0))]
    desktop = next((name for name in _DESKTOPS if shutil.which(name)), None)
    return None if desktop is None else [desktop, absolute]


def has_display() -> bool:
    """Whether a window can be opened here."""
    if sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def start(command: Command) -> None:
    """Start it and go on; it outlives this process."""
    subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def as_text(command: Command) -> str:
    """The command as a shell takes it."""
    return shlex.join(command)
