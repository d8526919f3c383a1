"""The entry of `vr`: what is imported here comes before a Ctrl-C is heard, so next to nothing."""

import io
import sys
from pathlib import Path

from cli.early import (
    INTERRUPTED,
    asks_for_json,
    end_at_once_when_interrupted,
    end_silently_when_interrupted,
    raise_when_interrupted,
    tell_interrupted,
)


def run() -> None:
    """The entry point of the console script; exits with the codes of docs/cli.md."""
    arguments = sys.argv[1:]
    end_at_once_when_interrupted(arguments)
    import cli.app  # noqa: F401 - the longest part of starting

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is shown with escapes, not refused.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        raise_when_interrupted()
        code = main(arguments)
        end_silently_when_interrupted()
    except KeyboardInterrupt:  # outside of a command, or while one tells of another Ctrl-C
        end_silently_when_interrupted()
        tell_interrupted(arguments)
        code = INTERRUPTED
    sys.exit(code)


def main(arguments: list[str]) -> int:
    """Run `vr` with the given arguments and return the exit code."""
    import typer

    from cli.app import app
    from cli.config import FILE_NAME, read_config
    from cli.failures import report, run_command
    from toolkit.errors import UsageError

    command = typer.main.get_command(app)
    try:
        defaults = read_config(Path(FILE_NAME), command)
    except UsageError as error:
        return report(error, as_json=asks_for_json(arguments))
    # Commands that start processes of themselves find the line again in context.obj.
    return run_command(command, arguments, default_map=defaults, obj=arguments)


if __name__ == "__main__":
    run()
