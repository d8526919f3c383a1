"""vr.toml: defaults for the flags of a folder, a table for each command.

[train]
steps = 5000
[index.build]
model = "exported-large"
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from typer.core import TyperGroup, TyperOption

from toolkit.errors import UsageError

FILE_NAME = "vr.toml"


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """The defaults of vr.toml, or none where there is no such file.

    Raises UsageError for a file that is no TOML, and for a table or key that no command
    has, with the nearest name.
    """
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", mend="Mend or remove it.") from error
    return _checked(content, command, path, "")


def _checked(content: dict[str, Any], command: Any, path: Path, place: str) -> dict[str, Any]:
    children = command.commands if isinstance(command, TyperGroup) else {}
    names = {p.name: p for p in command.params if isinstance(p, TyperOption) and p.name}
    checked: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if key in children and isinstance(value, dict):
            checked[key] = _checked(value, children[key], path, f"{place}{key}.")
        elif name in names and not isinstance(value, dict):
            checked[name] = value
        else:
            near = difflib.get_close_matches(key, [*children, *names], n=1)
            mend = f"Did you mean {place}{near[0]}?" if near else "Remove it."
            raise UsageError(f"{path} sets {place}{key}, which vr does not know.", mend=mend)
    return checked
