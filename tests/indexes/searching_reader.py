"""Run by test_index_readers.py: opens and searches an index until a file appears.

    searching_reader.py INDEX STOP

The last line printed is JSON: how often it searched, and every state that it saw, as
[model, names of the sources].
"""

import json
import sys
from pathlib import Path

import numpy as np

from indexes.search.index import open_index
from indexes.search.settings import SearchSettings

EACH = SearchSettings(group_tracks=False)


def look(index: Path) -> tuple[str, tuple[str, ...]]:
    """What one snapshot holds: every patch with its picture, and no other."""
    with open_index(index) as opened:
        first = opened.search(np.ones(16, np.float32), 1000, EACH)
        again = opened.search(-np.ones(16, np.float32), 1000, EACH)  # while the writer goes on
        ids = {hit.id for hit in first}
        assert ids == {hit.id for hit in again}
        assert len(first) == len(ids) == len(opened)
        assert all(opened.thumbnail(hit.id) for hit in first)
        assert opened.store.vectors_of(sorted(ids)).shape == (len(ids), 16)
        names = sorted(Path(hit.place.source).stem for hit in first)
        return opened.card.fingerprint, tuple(names)


def main() -> None:
    index, stop = Path(sys.argv[1]), Path(sys.argv[2])
    seen, searches = set(), 0
    print("ready", flush=True)
    while not stop.exists():
        seen.add(look(index))
        searches += 1
    print(json.dumps({"searches": searches, "seen": sorted(seen)}))


if __name__ == "__main__":
    main()
