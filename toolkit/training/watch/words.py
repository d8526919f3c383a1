"""A run's settings in words: what it is, and where it leaves its recipe."""

from typing import Any

from toolkit.training.run_folder import DataRecord
from toolkit.training.settings import TrainSettings


def changes_of(settings: TrainSettings) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from the recipe's: name to (this run's, the recipe's)."""
    plain = TrainSettings.from_recipe(settings.recipe, {})
    recipe = TrainSettings.from_recipe(settings.recipe, {"backbone": settings.backbone})
    theirs = recipe.resolved(recipe.precision).as_json() | {"backbone": plain.backbone}
    if recipe.precision == "auto":  # what was found on the machine is no change
        del theirs["precision"]
    ours = settings.as_json()
    return {
        name: (ours[name], value)
        for name, value in theirs.items()
        if ours[name] != value and not (name == "dim" and not ours[name])
    }


def sentences(settings: TrainSettings, data: DataRecord) -> list[tuple[str, str]]:
    """What was trained, on what and how: (topic, sentence) in the order of a page."""
    size = settings.preprocessing
    network = f"{settings.backbone}, {size.width}x{size.height} pixels {size.channels}"
    held = f"{len(data.held_out):,} held out by {settings.split}" if data.held_out else "none held"
    begin = f"weights of {settings.init}" if settings.init else "weights drawn at random"
    return [
        ("Recipe", settings.recipe),
        ("Network", f"{network}, to {settings.embedding_dim} numbers"),
        ("Beginning", begin),
        ("Loss", _loss(settings)),
        ("Batches", _batches(settings)),
        ("Steps", _steps(settings)),
        ("Data", f"{data.patches}: {data.train_pairs:,} pairs to train on, {held}"),
        ("Computing", f"{settings.precision}, seed {settings.seed}"),
    ]


def _loss(settings: TrainSettings) -> str:
    if settings.loss != "rank-hard":
        return f"{settings.loss}, temperature {settings.temperature:g}"
    hard = f"{settings.hard_ratio:.0%} hard and {settings.rand_ratio:.0%} random"
    return (
        f"rank-hard, margin {settings.margin:g}, {settings.negatives} negatives a pair; "
        f"{hard} after {settings.hard_after:.0%} of the steps"
    )


def _batches(settings: TrainSettings) -> str:
    change = f"crops, turns to {settings.turn:g} degrees, colours" if settings.augment else "mirror"
    several = f", {settings.pairs_per_track} of a track" if settings.pairs_per_track > 1 else ""
    camera = ", one camera a batch" if settings.cameras == "one" else ""
    pairs = f"{settings.batch_pairs} pairs{several}{camera}"
    return f"{pairs}; positives: {settings.positives}; {change}"


def _steps(settings: TrainSettings) -> str:
    averaged = f", averaged with {settings.ema:g}" if settings.ema else ""
    return (
        f"{settings.steps:,} with {settings.optimizer}, rate {settings.rate:g}, "
        f"weight decay {settings.weight_decay:g}, warm-up over {settings.warmup:.0%}, "
        f"{settings.decay} decay{averaged}"
    )
