"""`vr`: registers the commands. Nothing heavy is imported before a command runs."""

import io
import signal
import sys
from pathlib import Path
from types import FrameType

import typer

from cli.commands import (
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    import_,
    index,
    index_keep,
    index_upgrade,
    label,
    mine,
    runs,
    search,
    train,
    transfer,
)
from cli.config import FILE_NAME, read_config
from cli.failures import asks_for_json, report, run_command
from cli.output import show_line
from toolkit.errors import UsageError

app = typer.Typer(
    name="vr",
    help="Learn visual embeddings from unlabeled video, then export, index and search with them.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start in a folder with some video: vr train, vr export, vr index build, "
    "vr search image.jpg. Or see it all at once: vr demo.",
)
app.command("mine")(mine.mine)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("transfer")(transfer.transfer)
app.command("export")(export.export)
app.command("runs")(runs.runs)
app.add_typer(import_.app, name="import")
index.app.command("remove")(index_keep.remove)
index.app.command("compact")(index_keep.compact)
index.app.command("verify")(index_keep.verify)
index.app.command("upgrade")(index_upgrade.upgrade)
app.add_typer(index.app, name="index")
app.add_typer(label.app, name="label")
app.command("search")(search.search)
app.command("explain")(explain.explain)
app.command("embed")(embed.embed)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        show_line(f"vr {version('vr-toolkit')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def run() -> None:
    """The entry point of the console script; exits with the codes of docs/cli.md."""
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is shown with escapes, not refused.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's shape
    # A polite kill is a Ctrl-C from afar: drafts are removed and what was finished is kept.
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run `vr` with the given arguments and return the exit code."""
    command = typer.main.get_command(app)
    try:
        defaults = read_config(Path(FILE_NAME), command)
    except UsageError as error:
        return report(error, as_json=asks_for_json(arguments))
    # Commands that start processes of themselves find the line again in context.obj.
    return run_command(command, arguments, default_map=defaults, obj=arguments)


if __name__ == "__main__":
    run()
