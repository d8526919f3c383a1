"""`vr mine`: videos to pairs of patches of the same moving thing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_PATCHES, Json
from cli.output import Bar, count, emit, plain, progress_bar, say, show_line, warn, warn_set_aside
from toolkit.mining.settings import MiningSettings

if TYPE_CHECKING:
    from toolkit.mining.work.run import MiningProgress, MiningReport

DEFAULTS = MiningSettings()
CONTACT_SHEET = "contact_sheet.png"


def mine(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Videos or folders of them.", show_default="this folder"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pair shards.")] = DEFAULT_PATCHES,
    gap: Annotated[
        float, typer.Option(help="Seconds between the two patches of a pair.")
    ] = DEFAULTS.gap_s,
    min_quality: Annotated[
        float, typer.Option(help="Drop pairs that are trusted less, 0 to 1.")
    ] = DEFAULTS.min_quality,
    remine: Annotated[
        bool, typer.Option("--remine", help="Mine videos again that were mined before.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Find moving things in video and keep pairs of patches of the same thing.

    A second run does nothing for videos that were mined before, whatever their name.
    """
    settings = MiningSettings(gap_s=gap, min_quality=min_quality)
    report = mine_with_bar(videos or [Path()], out, settings, remine=remine)
    tell(report)
    if as_json:
        emit(as_contract(report))
    else:
        show_line(str(out))
    return 3 if report.quarantined else 0


def mine_with_bar(
    sources: list[Path], out: Path, settings: MiningSettings, *, remine: bool = False
) -> "MiningReport":
    """Mine, with a progress bar over the seconds of footage, and write the contact sheet."""
    from toolkit.mining.audit.contact_sheet import write_contact_sheet
    from toolkit.mining.work.run import mine as run_mining
    from toolkit.patches.shards import read_pairs

    with progress_bar("mining", None) as bar:
        report = run_mining(
            sources, out, settings, on_progress=lambda at: _show(bar, at), remine=remine
        )
    if report.pairs:
        write_contact_sheet(read_pairs(out), out / CONTACT_SHEET)
    return report


def _show(bar: Bar, at: "MiningProgress") -> None:
    bar.at(at.done_s, at.total_s, f"{at.pairs} pairs  {plain(at.video)}")


def tell(report: "MiningReport") -> None:
    """The end of the work for people: what was found, what was set aside, where to look."""
    for item in report.quarantined:
        warn_set_aside(item.path, item.reason)
    if report.skipped:
        say(f"{count(len(report.skipped), 'video')} mined before, and kept")
    if report.other_settings:
        again = count(len(report.other_settings), "video")
        warn(f"{again} mined before with other settings; --remine mines with these")
    say(
        f"[bold]{count(report.pairs, 'pair')}[/] of {count(report.tracks, 'moving thing')} in "
        f"{count(report.frames, 'frame')}, {report.seconds:.1f} s; "
        f"{count(report.total_pairs, 'pair')} in {plain(report.out)}"
    )
    if not report.pairs and report.frames:
        reasons = ", ".join(f"{plain(name)} {n}" for name, n in sorted(report.rejected.items()))
        warn(f"nothing that moves was kept{f'; rejected: {reasons}' if reasons else ''}")
    if report.pairs:
        say(f"look at them: {plain(report.out / CONTACT_SHEET)}")


def as_contract(report: "MiningReport") -> dict[str, Any]:
    """The `mine` contract of docs/formats.md."""
    return {
        "out": str(report.out),
        "videos": report.videos,
        "skipped": len(report.skipped),
        "frames": report.frames,
        "pairs": report.pairs,
        "tracks": report.tracks,
        "total_pairs": report.total_pairs,
        "rejected": dict(report.rejected),
        "quarantined": [{"video": q.path, "reason": q.reason} for q in report.quarantined],
        "seconds": round(report.seconds, 3),
        "frames_per_second": round(report.frames / max(report.seconds, 1e-9), 1),
    }
