"""`vr export`: a run to a bundle that other runtimes open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_EXPORTED, DEFAULT_LATEST, Json
from cli.output import complain, emit, plain, say, show_line, warn
from toolkit.errors import MissingError

if TYPE_CHECKING:
    from deploy.export import ExportReport


def export(
    run: Annotated[Path, typer.Argument(help="The run to export.")] = DEFAULT_LATEST,
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")] = DEFAULT_EXPORTED,
    trt: Annotated[
        bool, typer.Option("--trt", help="Build a TensorRT engine too (needs an NVIDIA GPU).")
    ] = False,
    patches: Annotated[
        Path | None, typer.Option(help="Where the run's pair shards are, if they were moved.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Export the network to ONNX, prove that it retrieves the same, and build engines.

    The bundle holds everything: uint8 RGB pictures in, vectors of length 1 out.
    """
    report = export_run(run, out, patches)
    tell(report)
    content = report.as_json()
    code = 0
    if trt:
        from deploy.tensorrt import build_engines

        try:
            content["engines"] = [str(engine) for engine in build_engines(report.bundle)]
        except MissingError as error:
            # The ONNX bundle stands and is of use; only the engine is missing.
            complain(error)
            content |= {"error": error.problem, "mend": error.mend, "exit_code": error.exit_code}
            code = error.exit_code
    if as_json:
        emit(content)
    else:
        show_line(str(report.bundle.folder))
    return code


def export_run(run: Path, out: Path, patches: Path | None = None) -> "ExportReport":
    """Export a run and prove it on the pairs that the run held out."""
    from deploy.export import export_bundle
    from toolkit.errors import UsageError
    from toolkit.model_card import FILE_NAME, ModelCard
    from toolkit.training.held_out import proof_pairs, was_imported
    from toolkit.training.run_folder import RunFolder

    folder = RunFolder.open(run)
    if not (folder.path / FILE_NAME).is_file():
        raise UsageError(
            f"The run {folder.path} is not finished.",
            mend=f"Go on with: {folder.resume_command}",
        )
    fit = ModelCard.read(folder.path).preprocessing.fit_batch
    record = folder.read_data()
    if not record.held_out and not was_imported(record):
        warn("the run held nothing out: the export is proven on patches it was trained on")
    pairs = proof_pairs(folder, patches)
    return export_bundle(
        folder.path,
        out,
        fit([stored.read_query() for stored in pairs]),
        fit([stored.read_positive() for stored in pairs]),
    )


def tell(report: "ExportReport") -> None:
    """What was made, for people."""
    parity = report.parity
    say(
        f"[bold]exported[/] {plain(report.bundle.onnx)}: over {parity.patches} patches the cosine "
        f"to the trained network is at least {parity.cosine_min:.6f}, and R@1 changes by "
        f"{100 * parity.delta_recall:+.2f} points"
    )
