"""A run as one HTML page that needs nothing beside it: curves, figures and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.evaluation.evaluate import HeldOutPatches
from toolkit.images import encode_jpeg, shrink
from toolkit.pages import data_uri, page_template
from toolkit.training.run_folder import DataRecord
from toolkit.training.settings import TrainSettings
from toolkit.training.watch import drawing
from toolkit.training.watch.alarm import ALARM, RECOVERED, most_directions, point_loss
from toolkit.training.watch.curves import Chart, Level, Line, points_of
from toolkit.training.watch.drawing import Drawing, draw
from toolkit.training.watch.neighbours import GROUPS, Example, Found
from toolkit.training.watch.sheets import patch_of
from toolkit.training.watch.words import changes_of, sentences
from toolkit.workspace import write_bytes

FILE_NAME = "report.html"
_PIXELS = 96
_JPEG_QUALITY = 80
_SIZES = ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")  # of a chart, in pixels

FINISHED, TRAINING, STOPPED = "finished", "in training", "stopped"


@dataclass(frozen=True, slots=True)
class Story:
    """What a page tells of a run.

    rows: of metrics.jsonl; state: FINISHED, TRAINING or STOPPED; step: how many are done;
    baselines: recall@1 of what needs no training; resume: the command that goes on.
    """

    name: str
    settings: TrainSettings
    data: DataRecord
    rows: Sequence[Mapping[str, Any]]
    state: str
    step: int
    baselines: Mapping[str, float]
    resume: str

    @property
    def batch_pairs(self) -> int:
        """The pairs of a step: small data has fewer than were asked for."""
        return min(self.settings.batch_pairs, self.data.train_pairs)


def write_page(
    target: Path, story: Story, held_out: HeldOutPatches | None, examples: Sequence[Example]
) -> None:
    """Write the page; held_out is None where nothing was measured. Raises StorageError."""
    template = page_template("toolkit.training.watch", "run.html", shown=shown)
    measured = [row for row in story.rows if "recall@1" in row]
    content = template.render(
        story=story,
        said=[row for row in story.rows if ALARM in row or RECOVERED in row],
        last=measured[-1] if measured else None,
        best=max((row["recall@1"] for row in measured), default=None),
        logged=next((row for row in reversed(story.rows) if "spread" in row), None),
        directions=most_directions(story.settings, story.batch_pairs),
        sentences=sentences(story.settings, story.data),
        changes=changes_of(story.settings),
        drawings=charts_of(story),
        groups=_groups(held_out, examples) if held_out else [],
        **{name.lower(): getattr(drawing, name) for name in _SIZES},
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
    )
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def shown(value: object) -> str:
    """A setting's value for people: true and false as yes and no, no text as "none"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def charts_of(story: Story) -> list[Drawing]:
    """The curves of a run, those of which nothing is known left out."""
    settings = story.settings
    before = next((row["recall@1"] for row in story.rows if row.get("recall@1") is not None), None)
    levels = [Level(name, value) for name, value in story.baselines.items()]
    if before is not None:
        levels.append(Level("before training", before))
    charts = [
        _chart(story, "Recall on held-out pairs", "", _RECALL, levels=levels, ceiling=1),
        _chart(
            story,
            "Loss",
            "",
            {"loss": "loss"},
            levels=[Level("one point", point_loss(settings, story.batch_pairs))],
        ),
        _chart(story, "Spread of the embeddings", "", {"spread": "spread"}, ceiling=1),
        _chart(
            story,
            "Effective rank",
            f"directions of {most_directions(settings, story.batch_pairs)}",
            {"effective_rank": "effective rank"},
        ),
        _chart(story, "Learning rate", "", {"rate": "rate"}),
    ]
    if settings.loss == "rank-hard":
        ratios = {"hard_ratio": "hard", "rand_ratio": "random"}
        charts.append(_chart(story, "Kinds of negatives", "part of them", ratios, ceiling=1))
    return [draw(chart, story.settings.steps) for chart in charts if chart.lines]


_RECALL = {"recall@1": "R@1", "recall@5": "R@5", "map@r": "MAP@R"}


def _chart(
    story: Story,
    title: str,
    unit: str,
    names: Mapping[str, str],
    *,
    levels: Sequence[Level] = (),
    ceiling: float = 0.0,
) -> Chart:
    curves = [
        (name, points_of(story.rows, key), style)
        for (key, name), style in zip(names.items(), "abc", strict=False)
    ]
    lines = [Line(name, points, style) for name, points, style in curves if points]
    return Chart(title, unit, lines, levels, ceiling=ceiling)


def _groups(held_out: HeldOutPatches, examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [
        {"name": group, "examples": [_example(held_out, e) for e in examples if e.group == group]}
        for group in GROUPS
    ]


def _example(held_out: HeldOutPatches, example: Example) -> dict[str, Any]:
    query = Found(example.query, score=1.0, right=True)
    return {
        "place": example.place,
        "query": _patch(held_out, query),
        "positive": _patch(held_out, example.positive),
        "hits": [_patch(held_out, found) for found in example.hits],
    }


def _patch(held_out: HeldOutPatches, found: Found) -> dict[str, Any]:
    count = len(held_out.records)
    pair = held_out.records[found.row % count]
    sighting = pair.query if found.row < count else pair.positive
    jpeg = encode_jpeg(shrink(patch_of(held_out, found.row), _PIXELS), quality=_JPEG_QUALITY)
    return {
        "picture": data_uri(jpeg),
        "path": pair.path,
        "time_s": sighting.time_s,
        "score": found.score,
        "right": found.right,
    }
