"""The audit of a folder of mined pairs: figures for programs, pictures for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.mining.audit.contact_sheet import write_contact_sheet
from toolkit.mining.audit.false_rate import (
    CONFIDENCE,
    METHOD,
    FalseRate,
    SeenPair,
    estimate_false_rate,
)
from toolkit.mining.audit.gather import Gathered, gather
from toolkit.mining.audit.page import write_page
from toolkit.mining.audit.sample import judged_sample
from toolkit.mining.work.ledger import Entry, Ledger
from toolkit.patches.shards import StoredPair
from toolkit.records import Quarantined
from toolkit.workspace import storage_errors, write_json

AUDIT = "audit.json"
SHEET = "contact_sheet.png"
PAGE = "contact_sheet.html"
MOST_SUSPECTS = 40


@dataclass(frozen=True, slots=True)
class MinedVideo:
    """One video of the ledger. tracks: those that gave pairs."""

    path: str
    sha256: str
    status: str
    footage_s: float
    pairs: int
    tracks: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What mining saw, set aside and kept, over everything in a folder.

    frames, footage_s, rejected (counts by reason, the most frequent first) are of the
    ledger; pairs, tracks (those that gave pairs), quality (pairs in ten bins of the score
    from 0 to 1) of the shards. tracks_begun: followed at all. by_video: most pairs first;
    not_whole: videos that were set aside or read in part, with the reason.
    """

    frames: int
    footage_s: float
    rejected: Mapping[str, int]
    videos: Mapping[str, int]
    tracks_begun: int
    pairs: int
    tracks: int
    quality: tuple[int, ...]
    by_video: tuple[MinedVideo, ...]
    not_whole: tuple[Quarantined, ...]
    false_pairs: FalseRate

    def as_json(self) -> dict[str, Any]:
        """As it stands in audit.json; docs/formats.md describes it."""
        content = asdict(self)
        del content["false_pairs"]["suspects"]
        content["false_pairs"] |= {"confidence": CONFIDENCE, "method": METHOD}
        return {"version": 1, **content}


def write_audit(out: Path) -> Audit:
    """Write OUT's audit.json, contact_sheet.png and contact_sheet.html, and return the audit.

    Every record is read, but of the patches only those of some hundreds of pairs. The same
    pairs and ledger give the same bytes. With no pairs there is no PNG, and an old one is
    deleted. Raises ShardError, ImageError, MismatchError, StorageError.
    """
    entries = Ledger(out).entries()
    found = gather(out)
    sample = judged_sample(found.shards)
    seen = [SeenPair.read(stored) for stored in sample]
    audit = _audit(entries, found, estimate_false_rate(seen))
    sheet = out / SHEET
    if audit.pairs:
        write_contact_sheet(found.overview(), sheet)
    else:
        with storage_errors(sheet):
            sheet.unlink(missing_ok=True)
    write_page(out / PAGE, audit, _sheet(found, sample, audit.false_pairs))
    # Last: whoever finds it newer than the ledger may rely on the pictures as well.
    write_json(out / AUDIT, audit.as_json())
    return audit


def _sheet(
    found: Gathered, sample: Sequence[StoredPair], false_pairs: FalseRate
) -> list[StoredPair]:
    """The pairs of the page: those whose colours do not fit, then the least trusted."""
    of_key = {stored.pair.key: stored for stored in sample}
    first = {key: of_key[key] for key, _ in false_pairs.suspects[:MOST_SUSPECTS]}
    return list(first.values()) + [s for s in found.sheet() if s.pair.key not in first]


def _audit(entries: Sequence[Entry], found: Gathered, false_pairs: FalseRate) -> Audit:
    rejected: Counter[str] = Counter()
    for entry in entries:
        rejected.update(entry.rejected)
    by_video = [
        MinedVideo(
            entry.path, entry.sha256, entry.status, entry.footage_s,
            *found.of_video.get(entry.sha256, (0, 0)),
        )
        for entry in entries
    ]  # fmt: skip
    return Audit(
        frames=sum(entry.frames for entry in entries),
        footage_s=round(sum(entry.footage_s for entry in entries), 3),
        rejected=dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        videos=dict(sorted(Counter(entry.status for entry in entries).items())),
        tracks_begun=sum(entry.tracks for entry in entries),
        pairs=sum(found.histogram),
        tracks=sum(tracks for _, tracks in found.of_video.values()),
        quality=tuple(found.histogram),
        by_video=tuple(sorted(by_video, key=lambda video: (-video.pairs, video.path))),
        not_whole=tuple(Quarantined(e.path, e.reason) for e in entries if e.status != "done"),
        false_pairs=false_pairs,
    )
