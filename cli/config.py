"""vr.toml: defaults for the flags of a folder, a table for each command.

[train]
steps = 5000
[index.build]
model = "exported-large"

A key is a flag without its dashes, and its value counts as if it were typed behind it.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from typer.core import TyperGroup, TyperOption

from toolkit.errors import UsageError

FILE_NAME = "vr.toml"
_NO_DEFAULT = {"--json"}  # a program that wants JSON asks for it each time


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """The defaults of vr.toml, or none where there is no such file.

    Raises UsageError for a file that is no TOML, and for a table or key that no command
    has, with the nearest name.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {reason}.", mend="Mend or remove it.") from error
    return _checked(content, command, path, "")


def _checked(content: dict[str, Any], command: Any, path: Path, place: str) -> dict[str, Any]:
    children = command.commands if isinstance(command, TyperGroup) else {}
    flags = {} if children else _flags(command)
    checked: dict[str, Any] = {}
    for key, value in content.items():
        flag = key.replace("_", "-")
        if key in children and isinstance(value, dict):
            checked[key] = _checked(value, children[key], path, f"{place}{key}.")
        elif flag in flags and not isinstance(value, dict):
            checked[flags[flag]] = _as_typed(value)
        elif key in children:
            raise UsageError(
                f"{path} sets {place}{key} to a value; it is a command.",
                mend=f"Put its defaults in a table: [{place}{key}]",
            )
        else:
            near = difflib.get_close_matches(key, [*children, *flags], n=1)
            mend = f"Did you mean {place}{near[0]}?" if near else "Remove it."
            raise UsageError(f"{path} sets {place}{key}, which vr does not know.", mend=mend)
    return checked


def _flags(command: Any) -> dict[str, str]:
    """The long flags of a command without their dashes, and its parameters' names."""
    return {
        flag.removeprefix("--"): parameter.name
        for parameter in command.params
        if isinstance(parameter, TyperOption) and parameter.name
        for flag in parameter.opts
        if flag.startswith("--") and flag not in _NO_DEFAULT
    }


def _as_typed(value: Any) -> str | list[str]:
    # As text it is parsed as strictly as on the command line: no 2.5 steps, no `top = true`.
    return [str(item) for item in value] if isinstance(value, list) else str(value)
