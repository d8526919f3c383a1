"""`vr`: registers the commands. Nothing heavy is imported before a command runs."""

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
from cli.output import show_line

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
