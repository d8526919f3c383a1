"""Errors to text and exit codes: a user's error is one message, a bug keeps its traceback."""

import sys
from typing import Any

import typer

from cli.output import complain, emit
from toolkit.errors import Interrupted, VrError


def run_command(command: Any, arguments: list[str], **settings: Any) -> int:
    """Run a command and return its exit code (DESIGN: 0, 1, 2, 3, 4, 5, 6, 130)."""
    as_json = "--json" in arguments
    try:
        result = command.main(arguments, prog_name="vr", standalone_mode=False, **settings)
        return result if isinstance(result, int) else 0
    except typer.TyperException as error:
        return _report_usage(error, as_json=as_json)
    except VrError as error:
        return report(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return report(Interrupted("Interrupted."), as_json=as_json)
    except BrokenPipeError:
        # The reader of our output went away (`vr search ... | head`): nothing to say to it.
        sys.stderr.close()
        return 1


def _report_usage(error: Any, *, as_json: bool) -> int:
    """Typer's own errors: an unknown flag (with the nearest name), a missing argument."""
    error.show(sys.stderr)
    code = int(error.exit_code)
    if as_json:
        emit({"error": error.format_message(), "mend": "", "exit_code": code})
    return code


def report(error: VrError, *, as_json: bool) -> int:
    """Say what is wrong, to people and with `--json` to programs; the exit code."""
    complain(error)
    if as_json:
        emit({"error": error.problem, "mend": error.mend, "exit_code": error.exit_code})
    return error.exit_code
