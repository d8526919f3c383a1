"""What changes over the steps: the rate, and how hard the negatives are. Pure functions."""

import math

from toolkit.training.settings import TrainSettings


def rate_at(step: int, settings: TrainSettings) -> float:
    """The learning rate of a step (0-based)."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return settings.rate * (step + 1) / warmup
    if settings.decay == "step":
        return settings.rate * 0.1 ** (4 * step // settings.steps)
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * progress))


def negative_ratios_at(step: int, settings: TrainSettings) -> tuple[float, float]:
    """(hard_ratio, rand_ratio) of a step: only random negatives first, then the mixture.

    The paper (section 4.2) starts with random negatives and goes over to hard ones; hard
    negatives from the first step draw all embeddings onto one point.
    """
    if step < settings.hard_after * settings.steps:
        return 0.0, 1.0
    return settings.hard_ratio, settings.rand_ratio
