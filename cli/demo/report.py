"""The page of the demo: one HTML file that needs nothing beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.demo.pipeline import Answer, DemoResult
from toolkit.images import RgbImage, encode_jpeg, read_image, shrink
from toolkit.pages import data_uri, page_template
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from toolkit.evaluation.retrieval import RetrievalMetrics

SHEET_PIXELS = 1400
CURVE = (640, 220)  # width and height of the loss curve, in its own units


@dataclass(frozen=True, slots=True)
class Curve:
    """A polyline in the box of CURVE, and what its ends are called."""

    points: str
    low: float
    high: float
    last_step: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the recall table; `of` tells how it is drawn."""

    name: str
    metrics: "RetrievalMetrics"
    of: str


def write_report(result: DemoResult, target: Path, commands: str) -> None:
    """Write the report; `commands` do the same with other footage. Raises StorageError."""
    from indexes.search.page import box_text

    template = page_template("cli.demo", "report.html", box=box_text)
    page = template.render(
        result=result,
        commands=commands,
        loss=result.loss,
        sheet=_sheet(result.out / "patches"),
        curve=loss_curve(result.metrics),
        curve_width=CURVE[0],
        curve_height=CURVE[1],
        rows=recall_rows(result),
        answers=[_card(answer) for answer in result.answers],
        found=sum(_found(answer) for answer in result.answers),
    )
    write_bytes(target, page.encode("utf-8", "backslashreplace"))


def recall_rows(result: DemoResult) -> list[Row]:
    """The trained network above what it has to beat."""
    if result.comparison is None:
        return []
    trained = Row("trained network", result.comparison.trained, "trained")
    return [trained] + [Row(name, m, "baseline") for name, m in result.comparison.baselines.items()]


def loss_curve(metrics: list[dict[str, Any]]) -> Curve | None:
    """The losses of metrics.jsonl as a polyline; None for fewer than two of them."""
    rows = [(row["step"], row["loss"]) for row in metrics if row.get("loss") is not None]
    if len(rows) < 2:
        return None
    steps, losses = zip(*rows, strict=True)
    low, high, last = 0.0, max(*losses, 1e-9), max(steps)
    width, height = CURVE
    points = " ".join(
        f"{width * step / last:.1f},{height * (1 - (loss - low) / (high - low)):.1f}"
        for step, loss in rows
    )
    return Curve(points, low, high, last)


def _card(answer: Answer) -> dict[str, Any]:
    return {
        "query": answer.query.pair,
        "picture": _jpeg_uri(shrink(answer.picture, 160)),
        "found": _found(answer),
        "hits": [
            (hit, data_uri(picture, "jpeg"), hit.place.track == answer.query.pair.track)
            for hit, picture in zip(answer.hits, answer.pictures, strict=True)
        ],
    }


def _found(answer: Answer) -> bool:
    return bool(answer.hits) and answer.hits[0].place.track == answer.query.pair.track


def _sheet(patches: Path) -> str | None:
    path = patches / "contact_sheet.png"
    return _jpeg_uri(shrink(read_image(path), SHEET_PIXELS)) if path.is_file() else None


def _jpeg_uri(image: RgbImage) -> str:
    return data_uri(encode_jpeg(image, quality=85))
