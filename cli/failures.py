"""Errors to text and exit codes: a user's error is one message, a bug keeps its traceback."""

import difflib
import traceback
from contextlib import suppress
from typing import Any

import typer

from cli.early import asks_for_json
from cli.output import complain, emit, unwritable
from toolkit.errors import Interrupted, StorageError, UsageError, VrError

_INTERRUPTED = Interrupted.exit_code
_BROKEN_PIPE = 1


def run_command(command: Any, arguments: list[str], **settings: Any) -> int:
    """Run a command and return its exit code (0 to 6, and 130; docs/cli.md)."""
    as_json = asks_for_json(arguments)
    if "" in arguments:
        return report(_empty(arguments), as_json=as_json)
    try:
        result = command.main(arguments, prog_name="vr", standalone_mode=False, **settings)
    except typer.TyperException as error:
        return _report_usage(error, as_json=as_json)
    except VrError as error:
        return report(error, as_json=as_json)
    except (SystemExit, BrokenPipeError):
        # The reader of our output went away (`vr search ... | head`): nothing to say to it.
        return _BROKEN_PIPE
    except OSError as error:
        if error.filename is not None or _is_ours(error):
            raise
        return report(unwritable(error), as_json=as_json)
    except KeyboardInterrupt:
        result = _INTERRUPTED
    if result == _INTERRUPTED:  # what typer makes of Ctrl-C; no command returns it by itself
        return report(
            Interrupted("Interrupted.", mend="What was finished is kept."), as_json=as_json
        )
    return result if isinstance(result, int) else 0


def _empty(arguments: list[str]) -> UsageError:
    """As a path it would be the current folder, as a pattern nothing: nobody means either."""
    before = arguments[arguments.index("") - 1] if arguments[0] else "vr"
    return UsageError(
        f"An empty text was given after {before}.",
        mend="Give a value, or leave it out; perhaps a variable of the shell is not set.",
    )


def _is_ours(error: OSError) -> bool:
    """Whether a command of ours was at work, and not typer, which prints the help by itself."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in frames]
    return any(module.startswith("cli.") for module in modules[1:])


def report(error: VrError, *, as_json: bool) -> int:
    """Say what is wrong, to people and with `--json` to programs; the exit code."""
    complain(error)
    if as_json:
        # The error may be that stdout itself cannot be written; people have heard of it.
        with suppress(StorageError, BrokenPipeError):
            emit({"error": error.problem, "mend": error.mend, "exit_code": error.exit_code})
    return error.exit_code


def _report_usage(error: Any, *, as_json: bool) -> int:
    """Typer's own errors: an unknown flag or command, a missing or wrong value."""
    problem, _, guess = error.format_message().partition(" Did you mean ")
    if not problem:  # a bare `vr` or `vr index`: its help is on the screen already
        return int(error.exit_code)
    mend = f"Did you mean {guess}" if guess else ""
    context = getattr(error, "ctx", None)
    if hasattr(error, "possibilities"):
        problem = f"There is no flag {error.option_name}."
        near = _nearest_flag(error.option_name, context)
        mend = f"Did you mean {near}?" if near else ""
    problem = problem.replace("Value error, ", "").rstrip(".") + "."
    if _stands_in_config(error, context):
        mend = "The value stands in vr.toml."
    if context is not None:
        mend = f"{mend} {context.command_path} -h shows what there is.".strip()
    return report(UsageError(problem, mend=mend), as_json=as_json)


def _nearest_flag(given: str, context: Any) -> str:
    flags = [flag for parameter in context.command.params for flag in parameter.opts]
    near = difflib.get_close_matches(given, [f for f in flags if f.startswith("--")], 1, 0.7)
    return near[0] if near else ""


def _stands_in_config(error: Any, context: Any) -> bool:
    parameter = getattr(error, "param", None)
    if parameter is None or context is None:
        return False
    source = context.get_parameter_source(parameter.name)
    return source is not None and source.name == "DEFAULT_MAP"
