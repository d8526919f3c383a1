"""`vr demo`: everything at once on sample footage, ending in a page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from cli.demo.pipeline import STEPS, DemoSettings, run_demo
from cli.options import Device, Json
from cli.output import emit, plain, say, show_line

YOUR_OWN = """cd a/folder/with/your/video
vr train
vr export
vr index build
vr search image.jpg --html hits.html"""


def demo(
    video: Annotated[
        list[Path] | None, typer.Option(help="Your own footage instead; may be given again.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = STEPS,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Mine, train, export, index and search real footage in minutes, and write a report."""
    from cli.demo.footage import sample_clips
    from cli.demo.report import write_report

    videos = tuple(video or sample_clips())
    result = run_demo(DemoSettings(videos=videos, out=out, steps=steps, device=device))
    report = out / "report.html"
    write_report(result, report, YOUR_OWN)
    say(f"\n[bold]The report:[/] {plain(report.resolve())}\n\nThe same with your own video:\n")
    say("\n".join(f"    {line}" for line in YOUR_OWN.splitlines()))
    if as_json:
        comparison = result.comparison
        emit(
            {
                "report": str(report),
                "pairs": result.mining.total_pairs,
                "metrics": comparison.trained.as_json() if comparison else None,
                "baselines": {n: m.as_json() for n, m in comparison.baselines.items()}
                if comparison
                else {},
                "seconds": {name: round(s, 2) for name, s in result.seconds.items()},
            }
        )
    else:
        show_line(str(report))
    return 3 if result.mining.quarantined else 0
