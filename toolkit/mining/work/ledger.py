"""What has been mined: one JSON file a video, written last, named by its content.

An entry says that the video's shard is whole. A shard without an entry was left by a run
that was killed, and is written again, to the same bytes. No file is shared by two videos,
so nothing needs a lock and later runs touch nothing of the earlier ones.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from toolkit.errors import MismatchError
from toolkit.workspace import read_json, storage_errors, write_json

Status = Literal["done", "partial", "quarantined"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One video: partial where it could be read in part, quarantined where not at all.

    path: as it was given when it was mined; reason: why it is not "done", else empty;
    footage_s: seconds that were looked at; rejected: counts by reason.
    """

    sha256: str
    path: str
    status: Status
    reason: str
    footage_s: float
    frames: int
    tracks: int
    pairs: int
    rejected: Mapping[str, int]
    settings: Mapping[str, Any]

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: Path) -> Self:
        """The inverse of what Ledger.add writes. Raises MismatchError."""
        fields = {name: value for name, value in content.items() if name != "version"}
        try:
            entry = cls(**fields)
        except TypeError as error:
            raise MismatchError(f"{source} is no ledger entry: {error}.") from error
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

    def entries(self) -> list[Entry]:
        """All entries, in the order of their hashes. Raises MismatchError."""
        paths = sorted((self._out / "ledger").glob("[0-9a-f]*.json"))
        return [Entry.from_json(read_json(path, "ledger entry"), path) for path in paths]

    def _path(self, sha256: str) -> Path:
        return self._out / "ledger" / f"{sha256}.json"
