"""Run by test_index_kill.py: builds in forks of itself, each killed at another step.

    killed_build.py INDEX_TEMPLATE SOURCES OUT first|again|overwrite FROM STRIDE

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

from indexes.patch_index import BuildSettings, build

WATCHED = frozenset({"execute", "executemany", "fsync", "replace", "rename", "unlink", "mkstemp"})
WATCHED |= frozenset({"write", "chmod", "close", "mkdir", "open", "flock"})


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


def main() -> None:
    template, sources, out = (Path(name) for name in sys.argv[1:4])
    mode, first, stride = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    embedder = FakeEmbedder(seed=1 if mode == "overwrite" else 0)
    settings = BuildSettings(overwrite=mode == "overwrite", batch=2, commit_vectors=3)
    for number in range(10_000):
        index = out / f"{number:04d}"
        if template.exists():
            shutil.copytree(template, index)
        child = os.fork()
        if child == 0:
            kill_at(first + number * stride)
            build(index, [sources], embedder, settings)
            sys.setprofile(None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0, status
            print(number)
            return


if __name__ == "__main__":
    main()
