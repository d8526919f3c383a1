"""What has been mined: one JSON file a video, written last, named by its content.

An entry says that the video's shard is whole. A shard without an entry was left by a run
that was killed, and is written again, to the same bytes. No file is shared by two videos,
so nothing needs a lock and later runs touch nothing of the earlier ones.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from toolkit.drafts import sweep
from toolkit.errors import MismatchError
from toolkit.workspace import read_json, storage_errors, write_json

_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{8}-\d+\.[^.]+")

Status = Literal["done", "partial", "quarantined", "forgotten"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One video: partial where it could be read in part, quarantined where not at all.

    forgotten: its pairs were taken out on request, and it is not mined again by itself;
    path: as it was given when it was mined; camera: what films; reason: why it is not
    "done", else empty; segments: in how many it was mined; footage_s: seconds that were
    looked at; rejected: counts by reason.
    """

    sha256: str
    path: str
    camera: str
    status: Status
    reason: str
    segments: int
    footage_s: float
    frames: int
    tracks: int
    pairs: int
    rejected: Mapping[str, int]
    settings: Mapping[str, Any]

    @classmethod
    def forgotten(cls, sha256: str, path: str) -> Self:
        """The entry that stands for a video whose pairs were taken out."""
        return cls(sha256, path, "", "forgotten", "", 0, 0.0, 0, 0, 0, {}, {})

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: Path) -> Self:
        """The inverse of what Ledger.add writes. Raises MismatchError."""
        fields = {name: value for name, value in content.items() if name != "version"}
        try:
            entry = cls(**fields)
        except TypeError as error:
            raise MismatchError(
                f"{source} is no ledger entry: {error}.", mend="Mine into a new folder."
            ) from error
        if content.get("version") != 1 or entry.status not in get_args(Status):
            raise MismatchError(
                f"{source} is of another version of vr.", mend="Mine into a new folder."
            )
        return entry


class Ledger:
    """The ledger of one folder of shards, OUT/ledger/SHA256.json."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def shard(self, sha256: str) -> Path:
        """Where a video's pairs lie; there is no file where it gave none."""
        return self._out / f"{sha256[:16]}.tar"

    def get(self, sha256: str) -> Entry | None:
        """The entry of a video, if it has been mined. Raises MismatchError."""
        path = self._path(sha256)
        if not path.exists():
            return None
        entry = Entry.from_json(read_json(path, "ledger entry"), path)
        # Someone who deletes a shard by hand wants it mined again.
        return entry if not entry.pairs or self.shard(sha256).exists() else None

    def add(self, entry: Entry) -> None:
        """Write an entry, atomically; its shard must be in place. Raises StorageError."""
        write_json(self._path(entry.sha256), {"version": 1, **asdict(entry)})

    def drop(self, sha256: str) -> None:
        """Take a video's entry out, so that its shard may be replaced. Raises StorageError."""
        path = self._path(sha256)
        with storage_errors(path):
            path.unlink(missing_ok=True)

    def remove_shard(self, sha256: str) -> None:
        """Take a video's pairs out. Raises StorageError."""
        shard = self.shard(sha256)
        with storage_errors(shard):
            shard.unlink(missing_ok=True)
            sweep(shard)

    def entries(self) -> list[Entry]:
        """The videos that were mined, in the order of their hashes. Raises MismatchError."""
        return [entry for entry in self._read() if entry.status != "forgotten"]

    def forgotten(self) -> list[Entry]:
        """The videos that were forgotten, in the order of their hashes. Raises MismatchError."""
        return [entry for entry in self._read() if entry.status == "forgotten"]

    def sweep(self) -> None:
        """Remove what a kill left half-written, and the pairs of what was being forgotten."""
        for folder in (self._out, self._out / "ledger"):
            names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names alone
            for target in {draft[1] for name in names if (draft := _DRAFT.fullmatch(name))}:
                sweep(folder / target)
        for entry in self.forgotten():
            self.remove_shard(entry.sha256)

    def changed_since(self, made: Path) -> bool:
        """Whether a file that was made of the ledger lacks something, or is not there at all."""
        try:
            made_at = made.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        return any(path.stat().st_mtime_ns > made_at for path in self._paths())

    def _read(self) -> list[Entry]:
        paths = self._paths()
        return [Entry.from_json(read_json(path, "ledger entry"), path) for path in paths]

    def _paths(self) -> list[Path]:
        return sorted((self._out / "ledger").glob("[0-9a-f]*.json"))

    def _path(self, sha256: str) -> Path:
        return self._out / "ledger" / f"{sha256}.json"
