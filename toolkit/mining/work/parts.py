"""The mined segments of a video on their way into its shard, OUT/.parts/SHA256/NNNN.

NNNN.tar holds a segment's pairs (there is none where it gave none); NNNN.json says what came
of it, is written after it, and so says that it is whole. A part carries a digest of
everything that its bytes depend on, and one of another digest counts as not there.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from toolkit.errors import MismatchError
from toolkit.mining.settings import MiningSettings
from toolkit.video.timeline import Segment
from toolkit.workspace import atomic_file, read_json, write_json

FOLDER = ".parts"
PartStatus = Literal["done", "partial", "quarantined"]
_FORMAT = 2  # 1 did not tell the runs of a track apart
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one segment.

    status: partial where it was damaged, quarantined where it could not be read or analysed
    (it then has no pairs), with the reason; content_bytes: of the pairs in its tar, without
    the end that every tar has; the rest as in a ledger entry.
    """

    digest: str
    status: PartStatus
    reason: str
    footage_s: float
    frames: int
    tracks: int
    pairs: int
    rejected: Mapping[str, int]
    content_bytes: int


class Parts:
    """The parts of one video."""

    def __init__(self, out: Path, sha256: str) -> None:
        self._folder = out / FOLDER / sha256

    def tar(self, segment: int) -> Path:
        """Where the pairs of a segment lie."""
        return self._folder / f"{segment:04d}.tar"

    def add(self, segment: int, part: Part) -> None:
        """Write what came of a segment; its tar must be in place. Raises StorageError."""
        write_json(self._record(segment), {"version": _FORMAT, **asdict(part)})

    def get(self, segment: int, digest: str) -> Part | None:
        """The part of a segment, if it is there, whole and of this digest."""
        try:
            content = read_json(self._record(segment), "part")
            part = Part(**{name: value for name, value in content.items() if name != "version"})
            if content["version"] != _FORMAT or part.digest != digest:
                return None
            if part.pairs and self.tar(segment).stat().st_size < part.content_bytes:
                return None
        except (MismatchError, OSError, TypeError, KeyError):
            return None  # absent or damaged: it is mined again, to the same bytes
        return part

    def join(self, target: Path, parts: Sequence[Part]) -> None:
        """Write the shard of the pairs of all segments, in order. Raises StorageError.

        It has the bytes that writing all the pairs into one shard gives.
        """
        with atomic_file(target) as draft, draft.open("wb") as whole:
            for segment, part in enumerate(parts):
                if part.pairs:
                    with self.tar(segment).open("rb") as stream:
                        _copy(stream, whole, part.content_bytes)
            whole.write(bytes(2 * tarfile.BLOCKSIZE))
            whole.write(bytes(-whole.tell() % tarfile.RECORDSIZE))

    def remove(self) -> bool:
        """Remove all of them; whether they are gone."""
        # What cannot be removed (network file systems keep what somebody still reads) stays
        # hidden, and the next run tries again.
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.parent.rmdir()  # only the last one leaves it empty
        return not self._folder.exists()

    def _record(self, segment: int) -> Path:
        return self._folder / f"{segment:04d}.json"


def content_bytes(shard: Path) -> int:
    """How many bytes of a tar are its members, without the end that every tar has."""
    with tarfile.open(shard, "r:") as tar:
        for _ in tar:
            pass
        return int(tar.offset)


def _copy(stream: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        chunk = stream.read(min(size, _CHUNK_BYTES))
        if not chunk:
            raise MismatchError(f"{stream.name} is cut short.", mend="Run vr mine again.")
        target.write(chunk)
        size -= len(chunk)


def digest_of(path: Path, camera: str, segment: Segment, settings: MiningSettings) -> str:
    """A hash over all that the bytes of a segment's part depend on, beside the video itself."""
    content = {
        "format": _FORMAT,
        "path": str(path),
        "camera": camera,
        "segment": asdict(segment),
        "settings": settings.as_json(),
        "versions": _versions(settings.device),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def _versions(device: str) -> Mapping[str, Any]:
    """Of what decodes, computes and encodes: parts of two of them would not fit together."""
    from importlib.metadata import version

    import av
    import cv2
    import numpy as np
    import PIL

    on_gpu = {name: version(name) for name in ("torch", "torchcodec") if device == "cuda"}
    return on_gpu | {
        "vr": version("vr-toolkit"),
        "av": [av.__version__, {name: list(v) for name, v in av.library_versions.items()}],
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
