"""The pairs of a published list on their way into shards, and the report of what was left out.

Patches come over as they are where they are JPEG files; anything else becomes one.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit.errors import ImageError, UsageError
from toolkit.images import RgbImage, decode_image, encode_jpeg
from toolkit.patches.list_clock import ListClock
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.roots import NotThereError, PatchRoots
from toolkit.patches.shards import MAX_MEMBER_BYTES, PairSample
from toolkit.patches.trainlist import ListedPair, ListLine, read_list
from toolkit.records import Box, PatchPair, Quarantined, Sighting, TrackQuality

MOST_PROBLEMS = 100  # that are kept in full; all are counted
UNKNOWN = TrackQuality(score=0.5, forward_backward=0.0, appearance=0.0)
_JPEG = b"\xff\xd8\xff"

Labels = Literal["track", "video"]


@dataclass(frozen=True, slots=True)
class ListImport:
    """How a list is taken.

    labels: what the same label on two pairs means: "track", they show the same thing;
    "video", they come from one video and may show different things. camera: what filmed.
    """

    labels: Labels = "track"
    camera: str = "trainlist"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.labels not in ("track", "video"):
            raise UsageError(f"The labels are {self.labels!r}.", mend="Use track or video.")


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line could not be used."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ListProgress:
    """stage: what is being read; done, total: bytes of it; pairs: that were taken so far."""

    stage: str
    done: int
    total: int
    pairs: int


OnProgress = Callable[[ListProgress], None]


@dataclass(slots=True)
class ListReport:
    """What an import made. problems: the first of `wrong_lines`; left_out: pairs not taken."""

    out: Path
    source: Path
    pairs: int = 0
    labels: int = 0
    left_out: int = 0
    wrong_lines: int = 0
    problems: list[LineProblem] = field(default_factory=list)
    damaged: list[Quarantined] = field(default_factory=list)
    shards: list[Path] = field(default_factory=list)

    def note(self, line: int, reason: str) -> None:
        """Count a line that could not be used."""
        self.wrong_lines += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(LineProblem(line, reason))


class ListSamples:
    """The pairs of a list on their way into shards."""

    def __init__(
        self,
        source: Path,
        digest: str,
        settings: ListImport,
        patches: PatchRoots,
        report: ListReport,
    ) -> None:
        self._source = source
        self._digest = digest
        self._settings = settings
        self._patches = patches
        self._report = report

    def all(self, scratch: Path, on_progress: OnProgress) -> Iterator[PairSample]:
        """Every pair that can be used; the others are noted in the report."""
        size = self._source.stat().st_size
        with self._source.open("rb") as stream, closing(ListClock(scratch / "labels")) as clock:
            for number, pair in enumerate(read_list(stream)):
                sample = self._sample(number, pair, clock)
                if sample is None:
                    self._report.left_out += 1
                else:
                    self._report.pairs += 1
                    yield sample
                on_progress(
                    ListProgress(self._source.name, stream.tell(), size, self._report.pairs)
                )
            self._report.labels = clock.labels

    def _sample(self, number: int, pair: ListedPair, clock: ListClock) -> PairSample | None:
        problems = pair.problems
        if not problems and pair.positive is not None:
            query, positive = self._read(pair.query), self._read(pair.positive)
            if query and positive:
                times_s = clock.next_two(pair.query.label)
                sightings = [
                    Sighting(time_s, Box(0.0, 0.0, float(image.shape[1]), float(image.shape[0])))
                    for time_s, (image, _) in zip(times_s, (query, positive), strict=True)
                ]
                hashes = perceptual_hash(query[0]), perceptual_hash(positive[0])
                record = self._record(number, pair.query.label, sightings, hashes)
                return PairSample(record, query[1], positive[1])
        for line, reason in problems:
            self._report.note(line, reason)
        return None

    def _read(self, line: ListLine) -> tuple[RgbImage, bytes] | None:
        """A patch and its JPEG file; None, and noted, where it cannot be had."""
        try:
            content = self._patches.find(line.path).read()
            image = decode_image(content, name=line.path)
            jpeg = content if content.startswith(_JPEG) else encode_jpeg(image, quality=95)
            if len(jpeg) > MAX_MEMBER_BYTES:
                raise NotThereError(f"it has {len(jpeg):,} bytes, over {MAX_MEMBER_BYTES:,}")
        except NotThereError as error:
            self._report.note(line.number, f"{line.path}: {error}")
        except ImageError as error:
            self._report.note(line.number, error.problem.rstrip("."))
        else:
            return image, jpeg
        return None

    def _record(
        self, number: int, label: int, sightings: list[Sighting], hashes: tuple[int, int]
    ) -> PatchPair:
        """What a list does not say is filled in as docs/legacy.md describes."""
        name = self._digest[:12]
        track = f"{name}-{label}" + (f"-{number:08d}" if self._settings.labels == "video" else "")
        return PatchPair(
            key=f"{name}-{number:08d}",
            video=self._digest,
            path=str(self._source),
            camera=self._settings.camera,
            track=track,
            query=sightings[0],
            positive=sightings[1],
            quality=UNKNOWN,
            query_phash=hashes[0],
            positive_phash=hashes[1],
        )
