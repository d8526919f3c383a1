"""Files of weights that somebody else wrote, read without running anything in them."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import MismatchError

FILE_ENDINGS = (".safetensors", ".pt", ".pth")
MAX_BYTES = 8 * 1024**3  # the largest published networks for pictures take 5 GB

# Where the tensors lie in the checkpoints of training scripts, ours among them.
_INSIDE = ("state_dict", "model", "model_state_dict", "teacher")


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file, or of a state dict of torch.

    Raises MismatchError for a file that is damaged, too large or holds something else.
    """
    size = _unpacked_bytes(path)
    if size > MAX_BYTES:
        raise MismatchError(
            f"{path} takes {size / 1024**3:.0f} GiB; at most {MAX_BYTES // 1024**3} are read."
        )
    try:
        content = _read(path)
    except Exception as error:  # a damaged file trips the restricted unpickler anywhere
        reason = str(error).strip().splitlines()
        raise MismatchError(
            f"{path} is no readable weights file: {reason[0] if reason else repr(error)}",
            mend="Use a .safetensors file, or a plain state dict of torch.",
        ) from error
    return _state_dict(content, path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unpacked_bytes(path: Path) -> int:
    """The size in memory: torch's files are zip archives, in which little may stand for much."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return path.stat().st_size if path.exists() else 0


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for name in _INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict):
        raise MismatchError(f"{path} holds no state dict.")
    tensors = {str(name): t for name, t in content.items() if isinstance(t, Tensor)}
    if not tensors:
        raise MismatchError(f"{path} holds no state dict: there are no tensors in it.")
    return tensors
