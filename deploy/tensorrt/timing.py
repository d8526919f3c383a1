"""The timing cache: what TensorRT measured in earlier builds on the same GPU.

It lies in the user's cache folder, not in a bundle, because it serves the engines of every
network; its name holds the GPU, TensorRT and CUDA. The file is TensorRT's own, as trtexec
reads it with --timingCacheFile.
"""

import os
from pathlib import Path
from typing import Any

from toolkit.errors import StorageError
from toolkit.workspace import write_bytes

_MEND = "Set XDG_CACHE_HOME to a folder that you may write to."


def timing_path(stem: str) -> Path:
    """Where the timing cache of that name lies; its folder is there. Raises StorageError."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "vr" / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home folder
        raise StorageError(
            f"There is no place for TensorRT's timing cache: {error}.", mend=_MEND
        ) from error
    if not os.access(folder, os.W_OK):  # before minutes of building, not after them
        raise StorageError(f"TensorRT's timing cache cannot be written to {folder}.", mend=_MEND)
    return folder / f"{stem}.timing"


def take_timings(config: Any, path: Path) -> bytes:
    """Let a build use what earlier ones measured, and return it.

    What TensorRT refuses, of another GPU or version or damaged, is not used: the build
    measures anew.
    """
    content = _read(path)
    if not _set(config, content):
        content = b""
        _set(config, content)
    return content


def _set(config: Any, content: bytes) -> bool:
    cache = config.create_timing_cache(content)
    return cache is not None and bool(config.set_timing_cache(cache, False))


def merge_timings(config: Any, path: Path, taken: bytes) -> bytes:
    """What a build measured, and what others have written since `taken`."""
    cache = config.get_timing_cache()
    now = _read(path)
    if now not in (b"", taken):
        other = config.create_timing_cache(now)
        if other is not None:
            cache.combine(other, False)
    return bytes(cache.serialize())


def write_timings(path: Path, content: bytes) -> None:
    """Keep them for later builds. Raises StorageError.

    The file is replaced in one step, so that no reader sees half of one; of two builds that
    end in the same moment the later one's measurements stay.
    """
    if content != _read(path):
        write_bytes(path, content)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
