"""What a network learned from, found again from its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import MismatchError
from toolkit.patches.shards import find_shards
from toolkit.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Training:
    """A run and its pair shards, as far as they are still there.

    run: its name; patches: the folder of shards; digest: SHA-256 over the records of all
    pairs; shards: the files that lie there now.
    """

    run: str
    patches: str
    digest: str
    train_pairs: int
    held_out_pairs: int
    shards: tuple[str, ...]

    def shard_of(self, sha256: str) -> str | None:
        """The shard of the video with this SHA-256, where it is among them."""
        from toolkit.mining.work.ledger import Ledger

        path = str(Ledger(Path(self.patches)).shard(sha256))
        return path if path in self.shards else None


def training_of(lineage: Mapping[str, Any], runs: Path) -> Training | None:
    """The training behind a card's lineage; None where its run is not in the folder `runs`.

    A run of the same name that learned from other pairs is another run.
    """
    name, digest = lineage.get("run"), lineage.get("data")
    if not isinstance(name, str) or Path(name).name != name:
        return None
    run = RunFolder(runs / name)
    if not (run.path / "data.json").is_file():
        return None
    try:
        record = run.read_data()
    except MismatchError:
        return None
    if record.digest != digest:
        return None
    patches = Path(record.patches)
    shards = tuple(map(str, find_shards(patches))) if patches.is_dir() else ()
    held_out = len(record.held_out)
    return Training(name, record.patches, record.digest, record.train_pairs, held_out, shards)
