"""Run by test_index_kill.py: writes in forks of itself, each killed at another step.

    killed_build.py INDEX_TEMPLATE SOURCES OUT MODE FROM STRIDE

A step is a call of anything in C (SQLite statements, writes, renames, FAISS); fork number n
works on a copy of INDEX_TEMPLATE (if it is there) in OUT/n and is killed by SIGKILL at its
step FROM + n * STRIDE. The last line printed is the number of forks that were killed; one
more ran to its end.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from conftest import FakeEmbedder  # this file's folder is on the path of a script

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.upgrade.settings import UpgradeSettings
from indexes.upgrade.upgrade import upgrade

WATCHED = frozenset({"execute", "executemany", "executescript", "fsync", "replace", "rename"})
WATCHED |= frozenset({"write", "chmod", "close", "mkdir", "open", "flock", "unlink", "truncate"})
WATCHED |= frozenset({"save", "touch", "write_index"})


def kill_at(step: int) -> None:
    """Let SIGKILL strike before (even) or after (odd) the given watched call."""
    seen = 0

    def profile(frame, event, arg):
        nonlocal seen
        if event in ("c_call", "c_return") and getattr(arg, "__name__", "") in WATCHED:
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.setprofile(profile)


INVERTED = Wish(key="IVF2,Flat")


def write(mode: str, index: Path, sources: Path) -> None:
    embedder = FakeEmbedder(seed=1 if mode == "overwrite" else 0)
    few = {"batch": 2, "commit_vectors": 3}
    if mode in ("first", "again"):
        build(index, [sources], embedder, BuildSettings(**few))
    elif mode == "overwrite":
        build(index, [sources], embedder, BuildSettings(overwrite=True, **few))
    elif mode == "merge":
        build(index, [sources], embedder, BuildSettings(wish=INVERTED, **few))
    elif mode == "remove":
        remove(index, [str(path) for path in sorted(sources.iterdir())])
    elif mode == "upgrade":
        upgrade(index, FakeEmbedder(seed=1), UpgradeSettings(build=BuildSettings(**few)))
    else:
        compact(index, CompactSettings(wish=INVERTED if mode == "compact-ivf" else Wish()))


def main() -> None:
    import faiss  # once, and not in each fork

    assert faiss
    template, sources, out = (Path(name) for name in sys.argv[1:4])
    mode, first, stride = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    for number in range(10_000):
        index = out / f"{number:04d}"
        if template.exists():
            shutil.copytree(template, index)
        child = os.fork()
        if child == 0:
            kill_at(first + number * stride)
            write(mode, index, sources)
            sys.setprofile(None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0, status
            print(number)
            return


if __name__ == "__main__":
    main()
