"""`vr export`: a run to a bundle that other runtimes open."""
# ruff: noqa: ARG001 - cli.export_flags reads the flags that are settings from the context

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import export_flags as flags
from cli.options import DEFAULT_EXPORTED, DEFAULT_LATEST, Json
from cli.output import complain, emit, plain, progress_bar, say, show_line, warn
from toolkit.errors import QualityGateError, VrError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.bundle import Bundle
    from deploy.export import ExportReport
    from deploy.proof.parity import Parity
    from deploy.runtimes import Runtime
    from deploy.settings import ExportSettings
    from deploy.tensorrt import EngineSettings


def export(
    context: typer.Context,
    run: flags.Run = DEFAULT_LATEST,
    out: flags.Out = DEFAULT_EXPORTED,
    precision: flags.PrecisionName = "fp32",
    dense: flags.Dense = False,
    triton: flags.Triton = None,
    size: flags.Size = None,
    opset: flags.Opset = None,
    batch: flags.Batch = None,
    trt: flags.Trt = False,
    trt_rtx: flags.TrtRtx = False,
    profiles: flags.Profiles = None,
    workspace: flags.Workspace = None,
    patches: flags.Patches = None,
    verify: flags.Verify = None,
    runtime: flags.RuntimeName = "auto",
    device: flags.DeviceName = "auto",
    as_json: Json = False,
) -> int:
    """Export the network to ONNX, prove that it retrieves the same, and build engines.

    The bundle holds everything: uint8 RGB pictures in, vectors of length 1 out.
    """
    flags.check_flags(context)
    if verify is not None:
        return _verify(verify, runtime, device, as_json=as_json)
    settings = flags.export_settings(context)
    engines = flags.engine_settings(context) if trt or trt_rtx else []
    report = export_run(run, out, settings, patches)
    tell(report)
    content: dict[str, Any] = report.as_json() | ({"built": []} if engines else {})
    # The ONNX bundle stands and is of use, whatever becomes of what was to be added to it.
    code = 0
    for wanted in engines:
        failed = _add_engines(report.bundle, wanted, content)
        code = code or failed
    if triton is not None:
        failed = _serve(report.bundle, triton, content)
        code = code or failed
    if as_json:
        emit(content)
    else:
        show_line(str(report.bundle.folder))
    return code


def export_run(
    run: Path, out: Path, settings: "ExportSettings | None" = None, patches: Path | None = None
) -> "ExportReport":
    """Export a run, and tell people how far it is and what they should know."""
    from deploy import from_run
    from deploy.settings import ExportSettings

    with progress_bar("exporting", None) as bar:

        def note_ranges(done: int, total: int) -> None:
            bar.at(done, total, "measuring ranges")

        watch = from_run.Watch(warn, note_ranges)
        return from_run.export_run(run, out, settings or ExportSettings(), patches, watch)


def _add_engines(bundle: "Bundle", wanted: "EngineSettings", content: dict[str, Any]) -> int:
    """Build, tell, and add to the report; the exit code."""
    from deploy.engines import add_engines

    try:
        for engine in add_engines(bundle, wanted):
            done = "is up to date" if engine.reused else "was built"
            say(f"the engine {plain(engine.path)} {done}; it is for {plain(engine.runs_on)}")
            content["engines"].append(str(engine.path))
            content["built"].append(engine.as_json())
    except VrError as error:
        return _say_error(error, content)
    return 0


def _serve(bundle: "Bundle", target: Path, content: dict[str, Any]) -> int:
    """Put it into a model repository, tell, and add to the report; the exit code."""
    from deploy.triton import write_repository

    try:
        repository = write_repository(bundle, target)
    except VrError as error:
        return _say_error(error, content)
    say(f"put into the model repository {plain(repository)}")
    content["triton"] = str(repository)
    return 0


def _verify(folder: Path, runtime: "Runtime", device: str, *, as_json: bool) -> int:
    from deploy.proof.verify import verify_bundle

    verification = verify_bundle(folder, runtime, device)
    content, code = verification.as_json(), 0
    try:
        verification.check()
        for ran, parity in verification.measured.items():
            say(f"[bold]verified[/] {plain(folder)} with {ran}: {_measured(parity)}")
    except QualityGateError as error:
        code = _say_error(error, content)
    if as_json:
        emit(content)
    elif code == 0:
        show_line(str(folder))
    return code


def _say_error(error: VrError, content: dict[str, Any]) -> int:
    """Tell people, and add to what programs are told."""
    complain(error)
    if "error" not in content:  # the exit code is that of the first
        content |= {"error": error.problem, "mend": error.mend, "exit_code": error.exit_code}
    return error.exit_code


def tell(report: "ExportReport") -> None:
    """What was made, for people."""
    precision = report.bundle.precision
    made = plain(report.bundle.onnx) + ("" if precision == "fp32" else f" in {precision}")
    say(f"[bold]exported[/] {made}: {_measured(report.parity)}")
    if report.windows is not None:
        say(
            f"the dense graph: {_points(report.windows, '')} among windows when a window is "
            f"looked for, {_points(report.windows, '_mixed')} when it is a patch alone"
        )


def _points(windows: "Mapping[str, Any]", kind: str) -> str:
    return f"R@1 {100 * windows[f'delta_recall@1{kind}']:+.1f} points"


def _measured(parity: "Parity") -> str:
    named = ""
    if parity.classes is not None:
        named = (
            f", {100 * parity.classes.top1_agreement:.2f} % are named alike and the accuracy "
            f"changes by {100 * parity.classes.delta_accuracy:+.2f} points"
        )
    return (
        f"over {parity.patches} patches the cosine to the trained network is at least "
        f"{parity.cosine_min:.6f}, and R@1 changes by {100 * parity.delta_recall:+.2f} points"
    ) + named
