"""Rates and ratios against hand-computed values; settings refused with the nearest name."""

import math
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.training.schedule import negative_ratios_at, rate_at
from toolkit.training.settings import RECIPES, TrainSettings


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 1e-3), (99_999, 1e-3), (100_000, 1e-4), (250_000, 1e-5), (399_999, 1e-6)],
)
def test_wang2015_divides_the_rate_by_ten_each_100000_steps(step, rate):
    assert rate_at(step, TrainSettings.from_recipe("wang2015", {})) == pytest.approx(rate)


def test_wang2015_is_the_published_setting():
    settings = TrainSettings.from_recipe("wang2015", {})
    assert (settings.backbone, settings.preprocessing.height, settings.preprocessing.channels) == (
        "alexnet", 227, "bgr",
    )  # fmt: skip
    assert (settings.batch_pairs, settings.steps, settings.weight_decay) == (50, 400_000, 5e-4)
    assert (settings.margin, settings.negatives, settings.optimizer) == (0.5, 4, "sgd")
    assert settings.embedding_dim == 1024
    assert not settings.augment


def test_wang2015_turns_to_hard_negatives_after_150000_steps():
    settings = TrainSettings.from_recipe("wang2015", {})
    assert negative_ratios_at(149_999, settings) == (0.0, 1.0)
    assert negative_ratios_at(150_000, settings) == (1.0, 0.0)


def test_cosine_warms_up_and_ends_near_zero():
    settings = TrainSettings(steps=100, warmup=0.1, rate=1.0)
    assert rate_at(0, settings) == pytest.approx(0.1)
    assert rate_at(9, settings) == pytest.approx(1.0)
    assert rate_at(55, settings) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert rate_at(99, settings) < 0.001


def test_one_step_has_a_rate():
    assert rate_at(0, TrainSettings(steps=1, warmup=0.0, rate=0.5)) == 0.5


def test_settings_survive_json():
    settings = TrainSettings.from_recipe("wang2015", {"steps": 7, "size": 99})
    assert TrainSettings.from_json(settings.as_json()) == settings


def test_resolved_settings_leave_nothing_to_defaults():
    settings = TrainSettings().resolved("fp32")
    assert (settings.size, settings.dim, settings.channels) == (64, 128, "rgb")
    assert settings.preprocessing == TrainSettings().preprocessing
    assert settings.resolved("fp32") == settings


def test_a_change_of_none_changes_nothing():
    assert TrainSettings.from_recipe("modern", {"steps": None}) == TrainSettings()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "rankhard"}, "Did you mean rank-hard"),
        ({"backbone": "smal"}, "Did you mean small"),
        ({"optimizer": "adam"}, "Did you mean adamw"),
        ({"split": "times"}, "Did you mean time"),
        ({"batchpairs": 3}, "Did you mean batch_pairs"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": "10"}, "steps is '10'"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"size": 64.5}, "size is 64.5"),
        ({"augment": "no"}, "augment is 'no'"),
        ({"batch_pairs": 1}, "batch_pairs is 1"),
        ({"hard_ratio": 1.2}, "hard_ratio is 1.2"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"size": 8}, "size is 8"),
        ({"size": 5000}, "size is 5000"),
        ({"channels": "cmyk"}, "channels is 'cmyk'"),
        ({"loss": "rank-hard", "negatives": 1}, "negatives is 1"),
        ({"loss": "rank-hard", "hard_ratio": 0, "rand_ratio": 0.2}, "negatives is 4"),
    ],
)
def test_wrong_settings_name_themselves(wrong, message):
    with pytest.raises(UsageError, match=message):
        TrainSettings.from_recipe("modern", wrong)


@pytest.mark.parametrize(
    "enough",
    [
        {"negatives": 1, "hard_ratio": 1.0},
        {"negatives": 1, "hard_after": 1.0},  # random ones to the end
        {"negatives": 1, "loss": "infonce"},
        {"negatives": 2},
    ],
)
def test_negatives_are_enough_where_one_of_them_is_drawn(enough):
    assert TrainSettings(**{"loss": "rank-hard", **enough}).negatives == enough["negatives"]


@pytest.mark.parametrize("default", [{"size": 0}, {"dim": 0}, {"channels": ""}])
def test_nothing_said_is_what_the_backbone_is_made_for(default):
    assert TrainSettings(**default) == TrainSettings()


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="Did you mean modern"):
        TrainSettings.from_recipe("moderm", {})


def test_every_recipe_is_valid():
    for name in RECIPES:
        assert TrainSettings.from_recipe(name, {}).recipe == name


def test_every_setting_and_what_the_recipes_make_of_it_stand_in_the_docs():
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    table = page.split("## All settings")[1].split("## ")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:4]]
        for line in table.splitlines()
        if line.startswith("| `")
    ]
    recipes = [TrainSettings.from_recipe(name, {}).as_json() for name in ("modern", "wang2015")]
    expected = [[f"`{name}`", *(_told(r[name]) for r in recipes)] for name in recipes[0]]
    assert rows == expected


def _told(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
