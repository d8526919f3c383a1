"""Engines on the disk: NAME.plan, which is pure, and NAME.json, which says what it is.

The JSON is written last and holds the plan's SHA-256, so that a plan without it, or beside
that of another plan, is no engine.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.bundle import Bundle
from deploy.tensorrt.key import EngineKey
from toolkit.errors import MismatchError, UsageError
from toolkit.workspace import read_json, sha256_file, storage_errors, write_bytes, write_json

REBUILD = "Build it again with `vr export --trt` on the machine that shall run it."


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A plan and what the JSON beside it says: its key, and everything else in `note`."""

    path: Path
    key: EngineKey
    note: Mapping[str, Any]

    @property
    def plan_sha256(self) -> str:
        """The SHA-256 that the plan has to have."""
        return str(self.note.get("plan_sha256"))

    def is_whole(self) -> bool:
        """Whether the plan is there and is the one that the JSON describes."""
        return self.path.is_file() and sha256_file(self.path) == self.plan_sha256

    def read_plan(self) -> bytes:
        """The plan. Raises MismatchError where it is not the one that the JSON describes."""
        if self.path.exists() and not self.path.is_file():  # a pipe could be read for ever
            raise MismatchError(f"{self.path} is no plain file.", mend=REBUILD)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise MismatchError(f"{self.path} cannot be read: {error}.", mend=REBUILD) from error
        if hashlib.sha256(content).hexdigest() != self.plan_sha256:
            raise MismatchError(
                f"{self.path} is not the engine that {self.path.stem}.json describes: it is "
                "damaged, or one of the two was replaced.",
                mend=REBUILD,
            )
        return content

    def remove(self) -> None:
        """Delete both files. Raises StorageError."""
        with storage_errors(self.path):
            self.path.with_suffix(".json").unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)


def write_engine(path: Path, key: EngineKey, plan: bytes, facts: Mapping[str, Any]) -> EngineFile:
    """Write plan and JSON; `facts` is what else shall stand in it. Raises StorageError."""
    digest = hashlib.sha256(plan).hexdigest()
    note = {**facts, **asdict(key), "key": key.digest(), "plan_sha256": digest}
    write_bytes(path, plan)
    write_json(path.with_suffix(".json"), note)
    return EngineFile(path, key, note)


def read_engine(path: Path) -> EngineFile:
    """Read the JSON of a plan. Raises MismatchError where it describes no engine."""
    source = path.with_suffix(".json")
    note = read_json(source, "engine description")
    try:
        return EngineFile(path, EngineKey.from_json(note), note)
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        raise MismatchError(
            f"{source} is no engine description: {error!r}.", mend=REBUILD
        ) from error


def engine_files(bundle: Bundle) -> tuple[EngineFile, ...]:
    """The engines that lie in a bundle, whatever they are for, without those that say nothing.

    A plan without a readable description cannot be told from any other file.
    """
    found = []
    for path in sorted(bundle.engines.glob("*.plan")) if bundle.engines.is_dir() else ():
        try:
            found.append(read_engine(path))
        except MismatchError:  # it says nothing: as if it were not there
            continue
    return tuple(found)
