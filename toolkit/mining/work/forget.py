"""`vr mine --forget`: a video's pairs are taken out, and it is not mined again by itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.errors import InputError, StorageError, UsageError
from toolkit.lock import writing
from toolkit.mining.work.ledger import Entry, Ledger
from toolkit.mining.work.parts import FOLDER, Parts
from toolkit.workspace import sha256_file

_PREFIX = re.compile("[0-9a-f]{4,64}")
_SHA256 = re.compile("[0-9a-f]{64}")
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A video whose pairs are gone; pairs: how many there were."""

    path: str
    sha256: str
    pairs: int


def forget(out: Path, names: Sequence[str]) -> list[Forgotten]:
    """Remove the shards, ledger entries and parts of the videos that `names` mean.

    A name is the path of the video, as it lies there or as the ledger has it, or the
    beginning of its SHA-256. Its ledger entry becomes one that says "forgotten": a later
    run over the folder that it lies in leaves it out. Naming what is forgotten already
    finishes what a kill left of it. Raises InputError for a name that means nothing in
    OUT, UsageError for one that means several videos, and then removes nothing; and
    StorageError.
    """
    if not (out / "ledger").is_dir() and not (out / FOLDER).is_dir():
        raise InputError(
            f"Nothing was mined into {out}.", mend="Say with --out where the pairs lie."
        )
    with writing(out, f"pairs into {out}"):
        known = _known(out)
        chosen = {entry.sha256: entry for entry in (_find(name, known, out) for name in names)}
        return [_remove(out, entry) for entry in chosen.values()]


def _known(out: Path) -> dict[str, Entry]:
    """Every video that OUT has something of, by its hash."""
    ledger = Ledger(out)
    known = {entry.sha256: entry for entry in [*ledger.entries(), *ledger.forgotten()]}
    parts = out / FOLDER
    for folder in sorted(parts.iterdir()) if parts.is_dir() else ():
        if _SHA256.fullmatch(folder.name):
            known.setdefault(folder.name, Entry.forgotten(folder.name, ""))
    return known


def _find(name: str, known: dict[str, Entry], out: Path) -> Entry:
    path = Path(name)
    if path.is_file() and (entry := known.get(_sha256(path))) is not None:
        return entry if entry.path else replace(entry, path=name)
    found = [entry for entry in known.values() if entry.path and _same(entry.path, path)]
    if not found and _PREFIX.fullmatch(name.lower()):
        found = [entry for entry in known.values() if entry.sha256.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{name} means several videos in {out}: {_listed(found)}.",
            mend="Give more digits of the one that you mean.",
        )
    held = [entry for entry in known.values() if entry.status != "forgotten"]
    raise InputError(
        f"No video {name} was mined into {out}. There is {_listed(held) or 'none'}.",
        mend="Give the path of one, or the digits before it.",
    )


def _same(recorded: str, path: Path) -> bool:
    return Path(recorded) == path or Path(recorded).absolute() == path.absolute()


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error


def _listed(entries: Sequence[Entry]) -> str:
    names = [f"{entry.sha256[:12]} {entry.path}".strip() for entry in entries[:_LISTED]]
    more = len(entries) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _remove(out: Path, entry: Entry) -> Forgotten:
    # The entry comes first: after a kill behind it the next run, or the next try, takes away
    # what is left. The other way round the next run would mine the video again.
    ledger = Ledger(out)
    ledger.add(Entry.forgotten(entry.sha256, entry.path))
    ledger.remove_shard(entry.sha256)
    if not Parts(out, entry.sha256).remove():
        raise StorageError(f"Cannot remove {out / FOLDER / entry.sha256}.", mend="Remove it.")
    return Forgotten(entry.path, entry.sha256, entry.pairs)
