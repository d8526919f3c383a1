"""Trains one run that kill -9 hits again and again, until a sitting reaches the end.

    python killed_train.py PATCHES RUN SETTINGS_JSON SEED

Each sitting is a process of its own, which kills itself before a call drawn at random from all
those that touch the disk or the weights. Prints how often it was killed.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

import torch

from toolkit.training import batches, session
from toolkit.training.loop import Machine, train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

CALLS = (
    (Trainer, "step"), (session, "save_checkpoint"), (torch, "save"), (Path, "write_bytes"),
    (os, "fsync"), (Path, "replace"), (os, "replace"), (os, "rename"),
)  # fmt: skip


def kill_before_call(number):
    left = [number]

    def counted(function):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for place, name in CALLS:
        setattr(place, name, counted(getattr(place, name)))


def sitting(patches, path, settings):
    if (path / "settings.json").is_file():
        run = RunFolder.open(path)
        train(patches, run, run.read_settings(), resume=True, machine=Machine("cpu", 2))
    else:
        run = RunFolder.create(path, overwrite=True)
        train(patches, run, settings, machine=Machine("cpu", 2))


def main():
    patches, path = Path(sys.argv[1]), Path(sys.argv[2])
    settings = TrainSettings.from_json(json.loads(sys.argv[3]))
    draw = random.Random(int(sys.argv[4]))
    batches.CACHE_BYTES = 0  # every patch is read from the shards, by the workers
    session.CHECKPOINT_EVERY_S = 0.0
    session.LOG_EVERY = 1
    os.fsync = lambda handle: None  # a kill loses nothing that was written; a busy disk is slow
    kills = 0
    while True:
        # Far enough for one more checkpoint at least, or it would never end.
        number = draw.randint(20, 60)
        child = os.fork()
        if child == 0:
            kill_before_call(number)
            sitting(patches, path, settings)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            print(kills)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1


if __name__ == "__main__":
    main()
