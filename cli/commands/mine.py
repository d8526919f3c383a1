"""`vr mine`: videos to pairs of patches of the same moving thing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.mining_audit import audit_as_json, tell_audit
from cli.options import DEFAULT_PATCHES, Json
from cli.output import Bar, count, emit, plain, progress_bar, say, show_line, warn, warn_set_aside
from toolkit.errors import UsageError
from toolkit.mining.settings import MiningSettings

if TYPE_CHECKING:
    from toolkit.mining.audit.report import Audit
    from toolkit.mining.work.forget import Forgotten
    from toolkit.mining.work.run import How, MiningProgress, MiningReport

DEFAULTS = MiningSettings()

_PAIRS = "Which pairs"
_CAMERAS = "Which camera"
_WORK = "Who does the work"
_AGAIN = "What was mined before"


def mine(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Videos or folders of them.", show_default="this folder"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pair shards.")] = DEFAULT_PATCHES,
    recipe: Annotated[
        Literal["modern", "wang2015"],
        typer.Option(
            help="modern, or wang2015: as the paper did it, slower and with fewer pairs.",
            rich_help_panel=_PAIRS,
        ),
    ] = DEFAULTS.recipe,
    gap: Annotated[
        float,
        typer.Option(help="Seconds between the two patches of a pair.", rich_help_panel=_PAIRS),
    ] = DEFAULTS.gap_s,
    min_quality: Annotated[
        float,
        typer.Option(help="Drop pairs that are trusted less, 0 to 1.", rich_help_panel=_PAIRS),
    ] = DEFAULTS.min_quality,
    camera: Annotated[
        str | None,
        typer.Option(
            help="Name of the one camera that filmed all of these videos.",
            show_default="each video is a camera of its own",
            rich_help_panel=_CAMERAS,
        ),
    ] = None,
    camera_pattern: Annotated[
        str | None,
        typer.Option(
            help="Where the camera's name stands in the path of each video, such as "
            "'footage/{camera}/*'.",
            rich_help_panel=_CAMERAS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that share the work, also on one long video. The pairs are the same "
            "for every number; 0 works in this process.",
            show_default="one a processor, as far as memory goes",
            rich_help_panel=_WORK,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let a Ray cluster do it: HOST:PORT, or auto for the one that this machine "
            "belongs to. The videos and --out lie on storage that all nodes share.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(
            help="Where to decode and to compute the flow. auto is the CPU: a GPU gives other "
            "pairs, about as good.",
            rich_help_panel=_WORK,
        ),
    ] = "auto",
    remine: Annotated[
        bool,
        typer.Option(
            "--remine",
            help="Mine videos again that were mined before, for other settings.",
            rich_help_panel=_AGAIN,
        ),
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIDEO",
            help="Take the pairs of this video out, and leave it out from now on; mine nothing. "
            "Its path, or the beginning of its SHA-256. May be given again.",
            rich_help_panel=_AGAIN,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Find moving things in video and keep pairs of patches of the same thing.

    A second run does nothing for videos that were mined before, whatever their name.

    Ctrl-C or a kill loses little: the next run goes on from there, and gives the same.
    """
    if forget:
        return _forget(forget, videos, out, as_json=as_json)
    from toolkit.mining.cameras import CameraRule
    from toolkit.mining.devices import resolve_mining_device
    from toolkit.mining.work.capacity import default_workers
    from toolkit.mining.work.run import How

    if ray is not None and workers is not None:
        raise UsageError(
            "--ray and --workers are two ways to do the work.", mend="Give one of the two."
        )
    settings = MiningSettings(
        recipe=recipe, device=resolve_mining_device(device), gap_s=gap, min_quality=min_quality
    )
    how = How(
        remine=remine,
        cameras=CameraRule(camera, camera_pattern),
        workers=default_workers() if workers is None else workers,
        ray=ray,
    )
    report, audit = mine_with_bar(videos or [Path()], out, settings, how)
    tell(report, audit)
    if as_json:
        emit(as_contract(report, audit))
    else:
        show_line(str(out))
    return 3 if report.quarantined else 0


def mine_with_bar(
    sources: list[Path], out: Path, settings: MiningSettings, how: "How | None" = None
) -> "tuple[MiningReport, Audit | None]":
    """Mine, with a progress bar over the seconds of footage, and write the audit.

    The audit is None where nothing was mined since the last one.
    """
    from toolkit.mining.audit.report import AUDIT, write_audit
    from toolkit.mining.work.capacity import default_workers
    from toolkit.mining.work.ledger import Ledger
    from toolkit.mining.work.run import How
    from toolkit.mining.work.run import mine as run_mining

    how = how or How(workers=default_workers())
    with progress_bar("mining", None) as bar:
        report = run_mining(sources, out, settings, lambda at: _show(bar, at), how)
    is_new = Ledger(out).changed_since(out / AUDIT)
    return report, write_audit(out) if is_new else None


def _show(bar: Bar, at: "MiningProgress") -> None:
    about = "about " if at.is_estimate else ""
    total = "" if at.total_s is None else f" of {about}{_clock(at.total_s)}"
    note = f"{_clock(at.done_s)}{total} of footage  {at.pairs} pairs  {plain(at.video)}"
    bar.at(at.done_s, at.total_s, note, left_s=at.left_s)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: 12:03:20."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def tell(report: "MiningReport", audit: "Audit | None" = None) -> None:
    """The end of the work for people: what was found, what was set aside, where to look."""
    for traceback in report.tracebacks:
        say(f"\n[bold red]bug:[/] {plain(traceback)}")
    for item in report.quarantined:
        warn_set_aside(item.path, item.reason)
    if report.skipped:
        say(f"{count(len(report.skipped), 'video')} mined before, and kept")
    if report.forgotten:
        say(f"{count(len(report.forgotten), 'video')} forgotten, and left out")
    if report.other_settings:
        again = count(len(report.other_settings), "video")
        warn(f"{again} mined before with other settings; --remine mines with these")
    for note in report.notes:
        warn(plain(note))
    if not report.videos and not report.quarantined:
        say(f"nothing new to mine; {count(report.total_pairs, 'pair')} in {plain(report.out)}")
        return
    say(
        f"[bold]{count(report.pairs, 'pair')}[/] of {count(report.tracks, 'moving thing')} in "
        f"{count(report.frames, 'frame')}, {report.seconds:.1f} s; "
        f"{count(report.total_pairs, 'pair')} in {plain(report.out)}"
    )
    if not report.pairs and report.frames:
        reasons = ", ".join(f"{plain(name)} {n}" for name, n in sorted(report.rejected.items()))
        warn(f"nothing that moves was kept{f'; rejected: {reasons}' if reasons else ''}")
    if audit is not None:
        _tell_audit(audit, report.out)


def _tell_audit(audit: "Audit", out: Path) -> None:
    from toolkit.mining.audit.report import PAGE

    tell_audit(audit)
    if audit.pairs:
        say(f"look at them: {plain(out / PAGE)}")


def as_contract(report: "MiningReport", audit: "Audit | None") -> dict[str, Any]:
    """The `mine` contract of docs/formats.md."""
    return {
        "out": str(report.out),
        "videos": report.videos,
        "skipped": len(report.skipped),
        "forgotten": len(report.forgotten),
        "frames": report.frames,
        "footage_s": round(report.footage_s, 3),
        "pairs": report.pairs,
        "tracks": report.tracks,
        "total_pairs": report.total_pairs,
        "rejected": dict(report.rejected),
        "quarantined": [{"video": q.path, "reason": q.reason} for q in report.quarantined],
        "seconds": round(report.seconds, 3),
        "frames_per_second": round(report.frames / max(report.seconds, 1e-9), 1),
        "audit": None if audit is None else audit_as_json(audit),
    }


def _forget(names: list[str], videos: list[Path] | None, out: Path, *, as_json: bool) -> int:
    """`vr mine --forget`: take pairs out, and nothing else."""
    from toolkit.mining.audit.report import write_audit
    from toolkit.mining.work.forget import forget

    if videos:
        raise UsageError(
            f"--forget mines nothing, and {videos[0]} is to be mined.",
            mend="Forget first, then mine in a command of its own. To forget several videos, "
            "write --forget before each.",
        )
    gone = forget(out, names)
    audit = write_audit(out)
    _tell_forgotten(gone)
    if as_json:
        forgotten = [{"video": v.path, "sha256": v.sha256, "pairs": v.pairs} for v in gone]
        emit({"out": str(out), "forgotten": forgotten, "total_pairs": audit.pairs})
    else:
        show_line(str(out))
    return 0


def _tell_forgotten(gone: "list[Forgotten]") -> None:
    for video in gone:
        say(f"forgotten: {plain(video.path)}, {count(video.pairs, 'pair')}")
    say(
        "They are left out from now on; vr mine --remine FILE takes one back. What was trained or "
        "indexed with their pairs still has them: vr index build --overwrite makes an index anew."
    )
