"""Numbers in the place of names: what is asked of Milvus holds no text from outside."""

import hashlib
import json
from functools import lru_cache

_POSITIVE = (1 << 63) - 1


@lru_cache(maxsize=1 << 16)
def key_of(*parts: str | int) -> int:
    """The same number for the same parts in every process: 1 to 2^63 - 1.

    Of the SHA-256 of the parts; among ten million names two are the same once in 200,000
    indexes.
    """
    content = json.dumps(parts, ensure_ascii=True).encode()
    number = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") & _POSITIVE
    return number or 1


def thing_of(track: str | None, patch: int) -> int:
    """The thing that a patch shows: the track's number, or minus its own id without one."""
    return -patch if track is None else key_of("track", track)
