"""Published checkpoints: a folder on this machine, else the hub's cache, else the hub itself."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.optional import require

CONFIG_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")


def config_folder(name: str) -> Path:
    """The folder with the config.json of a checkpoint, by folder or by hub name.

    Only what is missing here is fetched. Raises UsageError, MissingError.
    """
    return _folder(name, CONFIG_FILES, lambda folder: (folder / "config.json").is_file())


def weights_folder(name: str) -> Path:
    """The folder with the safetensors of a checkpoint. Raises UsageError, MissingError.

    Other formats are not read: they are pickles, which can run code.
    """
    return _folder(name, WEIGHT_FILES, _holds_weights)


def _folder(name: str, wanted: Sequence[str], whole: Callable[[Path], bool]) -> Path:
    local = Path(name).expanduser()
    if local.is_dir():
        if whole(local):
            return local
        raise _lacking(str(local), wanted[0])
    if local.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UsageError(
            f"There is no folder {name}.",
            mend=f"Name a folder that holds {wanted[0]}, or a checkpoint of the hub.",
        )
    folder = _cached(name, wanted)
    if folder is None or not whole(folder):
        folder = _fetched(name, wanted)
    if not whole(folder):
        raise _lacking(name, wanted[0])
    return folder


def _holds_weights(folder: Path) -> bool:
    """Whether the one weights file, or every part that the index names, is there."""
    if (folder / WEIGHT_FILES[0]).is_file():
        return True
    index = folder / WEIGHT_FILES[1]
    if not index.is_file():
        return False
    try:
        parts = set(json.loads(index.read_bytes())["weight_map"].values())
        return all((folder / Path(part).name).is_file() for part in parts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{index} is no index of weights: {error!r}.") from error


def _cached(name: str, wanted: Sequence[str]) -> Path | None:
    hub = require("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True))
    except OSError:  # not in the cache
        return None
    except ValueError as error:
        raise UsageError(
            f"{name!r} is neither a folder nor the name of a checkpoint: {error}",
            mend="Name a folder, or a checkpoint of the hub as OWNER/NAME.",
        ) from error


def _fetched(name: str, wanted: Sequence[str]) -> Path:
    hub = require("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The checkpoint {name} is neither a folder here nor in the hub's cache, and cannot be "
            f"fetched: {str(error).splitlines()[0]}",
            mend="Check the name and the network connection, or copy the checkpoint here and "
            "name its folder.",
        ) from error


def _lacking(name: str, file: str) -> UsageError:
    return UsageError(
        f"{name} holds no {file}.",
        mend="Name a checkpoint in the safetensors format, with its config.json.",
    )
