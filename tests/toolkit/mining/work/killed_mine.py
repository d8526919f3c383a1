"""Run by test_kill.py: mines in forks of itself, each killed at another step.

    killed_mine.py VIDEOS OUT first|again|more|forget FROM STRIDE [write]

A step is a call of anything in C that changes files (with `write`, single writes too), in any
thread. What happens to fork number n lies in OUT/n: `killed` is as the kill at its step
FROM + n * STRIDE left it, `after` what a later, undisturbed run made of it; OUT/whole never
saw a kill. The last line printed is the number of forks that were killed; one more ran to
its end. The recipe is a stand-in: what is mined does not matter here, only that it is quick.
"""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import numpy as np

from toolkit.mining.mined import MinedPair, View
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work import unit
from toolkit.mining.work.forget import forget
from toolkit.mining.work.run import How, mine
from toolkit.records import Box, Sighting, TrackQuality

WATCHED = {"fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "chmod", "open", "flock"}
OLD, NEW = MiningSettings(), MiningSettings(gap_s=0.4)


def quick_pairs(frames, settings, tally):
    """A pair of noise every 20 frames, as large as the settings' gap says."""
    for frame in frames:
        tally.frames += 1
        tally.footage_s = tally.frames / 15
        if tally.frames % 20:
            continue
        side = 12 + round(10 * settings.gap_s)
        noise = np.random.default_rng(round(frame.time_s * 1000)).integers(0, 256, (side, side, 3))
        box = Box(0, 0, side, side)
        views = [
            View(
                tally.tracks, Sighting(round(frame.time_s + later, 3), box), noise.astype(np.uint8)
            )
            for later in (0.0, settings.gap_s)
        ]
        tally.tracks += 1
        yield MinedPair(*views, TrackQuality(1.0, 0.0, 1.0))


def kill_at(step, watched):
    """Let SIGKILL strike before (even) or after (odd) the given watched call."""
    seen = 0

    def profile(frame, event, arg):
        nonlocal seen
        if event in ("c_call", "c_return") and getattr(arg, "__name__", "") in watched:
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    threading.setprofile(profile)
    sys.setprofile(profile)


def act(mode, videos, out):
    """What is killed."""
    if mode == "forget":
        forget(out, [str(videos / "b.mp4")])
    else:
        run(mode, videos, out)


def run(mode, videos, out):
    remine = mode == "again"
    mine([videos], out, NEW, None, How(segment_s=2.0, remine=remine))


def prepare(mode, videos, out):
    """What is there before."""
    if mode == "again":
        mine([videos], out, OLD, None, How(segment_s=2.0))
    elif mode == "more":
        mine([videos / "a.mp4"], out, NEW, None, How(segment_s=2.0))
    elif mode == "forget":
        mine([videos], out, NEW, None, How(segment_s=2.0))


def in_a_fork(action):
    """Whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            sys.setprofile(None)
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, status
    return False


def main():
    videos, out, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    first, stride = int(sys.argv[4]), int(sys.argv[5])
    watched = WATCHED | {"write"} if sys.argv[6:] else WATCHED
    unit.mined_pairs = quick_pairs
    template = out / "template"
    in_a_fork(lambda: prepare(mode, videos, template))
    for number in range(100_000):
        folder = out / f"{number:05d}"
        shutil.copytree(template, folder / "killed") if template.exists() else folder.mkdir()

        def killed(folder=folder, step=first + number * stride):
            kill_at(step, watched)
            act(mode, videos, folder / "killed")

        was_killed = in_a_fork(killed)
        if (folder / "killed").exists():
            shutil.copytree(folder / "killed", folder / "after")
        in_a_fork(lambda folder=folder: run(mode, videos, folder / "after"))
        if not was_killed:
            folder.rename(out / "whole")
            print(number)
            return


if __name__ == "__main__":
    main()
