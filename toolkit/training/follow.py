"""What all processes but the first do in a sitting: their share of the steps, and nothing else."""

from toolkit.errors import Interrupted
from toolkit.training.interrupt import stop_between_steps
from toolkit.training.prepare import TrainingData
from toolkit.training.step import Trainer


def follow_steps(data: TrainingData, trainer: Trainer, first: int) -> None:
    """Train from `first` to the last step beside the process that logs, measures and saves.

    Raises Interrupted after the same step as that one.
    """
    settings, team = trainer.settings, trainer.team
    steps = settings.steps
    if first in (0, steps):
        team.wait()  # for the first measurement
    with stop_between_steps() as stop:
        for step, batch in enumerate(data.batches.steps(first, steps), first):
            trainer.step(step, batch)
            if settings.measures_after(step + 1):
                team.wait()
            if team.stop_asked(stop.asked):
                raise Interrupted(f"Interrupted after step {step + 1} of {steps}.")
