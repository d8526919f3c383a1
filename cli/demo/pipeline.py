"""The steps of the demo, each the same function that the command of its name calls."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.commands.export import export_run
from cli.commands.index import build_with_bar
from cli.commands.mine import mine_with_bar
from cli.commands.train import train_with_bar
from cli.output import say
from toolkit.errors import InputError, UsageError
from toolkit.mining.settings import MiningSettings
from toolkit.workspace import sha256_file, write_bytes

if TYPE_CHECKING:
    from deploy.export import ExportReport
    from indexes.build.settings import BuildReport
    from indexes.search.hits import Hit
    from toolkit.evaluation.evaluate import Comparison
    from toolkit.images import RgbImage
    from toolkit.mining.work.run import MiningReport
    from toolkit.patches.shards import StoredPair
    from toolkit.training.loop import TrainReport

STEPS = 300
MARKER = ".vr-demo"
QUERIES = 12
HITS = 6

# Clips of a few seconds with shots of two: pairs half a second apart, as many as there are,
# and of things that move on the spot too.
SHORT_CLIPS = MiningSettings(gap_s=0.5, pairs_per_gap=6, min_travel=0.02, min_quality=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What to show: the footage, where everything goes, and how long to learn."""

    videos: tuple[Path, ...]
    out: Path = Path("demo")
    steps: int = STEPS
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Answer:
    """A held-out patch, what was found for it, and a picture of each hit."""

    query: "StoredPair"
    picture: "RgbImage"
    hits: "list[Hit]"
    pictures: list[bytes]


@dataclass(slots=True)
class DemoResult:
    """What each step gave, and how long it took in seconds."""

    out: Path
    mining: "MiningReport"
    training: "TrainReport"
    loss: str
    metrics: list[dict[str, Any]]
    comparison: "Comparison | None"
    exported: "ExportReport"
    index: "BuildReport"
    answers: list[Answer]
    seconds: dict[str, float] = field(default_factory=dict)


class Clock:
    """How long each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step and say its name."""
        say(f"[bold cyan]{name}[/]")
        begun = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begun


def run_demo(demo: DemoSettings) -> DemoResult:
    """Mine, train, evaluate, export, index and search in the folder `demo.out`.

    Mining is taken up where an earlier demo left it; the rest is done anew. Raises what the
    steps raise.
    """
    from toolkit.training.loop import Machine
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.settings import TrainSettings

    out, device = demo.out, demo.device
    _claim(demo)
    clock = Clock()
    settings = TrainSettings.from_recipe("modern", {"steps": demo.steps, "seed": demo.seed})
    with clock.step("mine"):
        mining, _ = mine_with_bar(list(demo.videos), out / "patches", SHORT_CLIPS)
    with clock.step("train"):
        run = RunFolder.create(out / "runs" / "demo", overwrite=True)
        training = train_with_bar(out / "patches", run, settings, Machine(device))
    with clock.step("evaluate"):
        comparison = _compare(run, device) if training.metrics else None
    with clock.step("export"):
        exported = export_run(run.path, out / "exported")
    with clock.step("index"):
        index = _index(out, device)
    with clock.step("search"):
        answers = _search(run, out)
    return DemoResult(
        out=out,
        mining=mining,
        training=training,
        loss=settings.loss,
        metrics=run.read_metrics(),
        comparison=comparison,
        exported=exported,
        index=index,
        answers=answers,
        seconds=clock.seconds,
    )


def _claim(demo: DemoSettings) -> None:
    """Make sure that the folder is the demo's own, and holds pairs of this footage only.

    Raises UsageError for a folder with something else in it, InputError, StorageError.
    """
    marker = demo.out / MARKER
    if demo.out.is_dir() and any(demo.out.iterdir()) and not marker.is_file():
        raise UsageError(
            f"{demo.out} holds things that the demo did not make.",
            mend="Choose an empty or new folder with --out.",
        )
    footage = "\n".join(sorted(_sha256(video) for video in demo.videos)).encode()
    if marker.is_file() and marker.read_bytes() != footage:
        shutil.rmtree(demo.out / "patches", ignore_errors=True)
    write_bytes(marker, footage)


def _sha256(video: Path) -> str:
    try:
        return sha256_file(video)
    except OSError as error:
        raise InputError(
            f"{video} cannot be read: {error.strerror}.", mend="Give a video file with --video."
        ) from error


def _compare(run: Any, device: str) -> "Comparison":
    from toolkit.embedding_torch import TorchEmbedder
    from toolkit.evaluation.evaluate import compare, load_held_out
    from toolkit.training.held_out import held_out_pairs

    embedder = TorchEmbedder.open(run.path, device)
    return compare(embedder, load_held_out(held_out_pairs(run), embedder.card.preprocessing))


def _index(out: Path, device: str) -> "BuildReport":
    from deploy.runtimes import open_embedder
    from indexes.build.settings import BuildSettings

    embedder = open_embedder(out / "exported", device=device)
    try:
        settings = BuildSettings(overwrite=True)
        return build_with_bar(out / "index", [out / "patches"], embedder, settings)
    finally:
        embedder.close()


def _search(run: Any, out: Path) -> list[Answer]:
    """Look for held-out patches of different tracks, spread over the footage."""
    from deploy.runtimes import open_embedder
    from indexes.search.index import open_index
    from indexes.search.settings import SearchSettings
    from toolkit.embedding import embed_images
    from toolkit.training.held_out import proof_pairs

    one_a_track = list({stored.pair.track: stored for stored in proof_pairs(run)}.values())
    chosen = _spread(one_a_track, QUERIES)
    pictures = [stored.read_query() for stored in chosen]
    embedder = open_embedder(out / "exported")
    try:
        with open_index(out / "index") as index:
            index.check_model(embedder.card)
            vectors = embed_images(embedder, pictures)
            everything = SearchSettings(group_tracks=False)
            answers = []
            for stored, picture, vector in zip(chosen, pictures, vectors, strict=True):
                hits = _without_itself(stored, index.search(vector, 400, everything))
                thumbnails = [index.thumbnail(hit.id) or b"" for hit in hits]
                answers.append(Answer(stored, picture, hits, thumbnails))
            return answers
    finally:
        embedder.close()


def _without_itself(query: "StoredPair", hits: "list[Hit]") -> "list[Hit]":
    """One hit a track; of the query's own track only what lies as far away as its positive.

    The query patch is in the index too: to find it would prove nothing.
    """
    pair = query.pair
    gap = abs(pair.positive.time_s - pair.query.time_s)
    kept: list[Hit] = []
    for hit in hits:
        track, time_s = hit.place.track, hit.place.time_s
        own = track == pair.track
        if own and time_s is not None and abs(time_s - pair.query.time_s) < gap - 1e-3:
            continue
        if all(track != other.place.track for other in kept):
            kept.append(hit)
    return kept[:HITS]


def _spread(items: "list[StoredPair]", count: int) -> "list[StoredPair]":
    """Up to `count` of the items, evenly spread."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
