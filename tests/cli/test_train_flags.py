"""How recipe, vr.toml, flags and --set add up to the settings of a run; nothing is trained."""

import pytest

import cli.commands.train as command
from toolkit.training.loop import TrainReport
from toolkit.training.settings import TrainSettings

MODERN = TrainSettings()


@pytest.fixture
def settings_of(vr, empty, monkeypatch):
    """The settings with which `vr train ARGUMENTS` would train; mines and trains nothing."""
    seen = []

    def training(patches, run, settings, machine, *, resume=False):
        seen.append(settings)
        return TrainReport(run.path, settings.steps, 0.0, run.last, None, 1, 0, 0.0)

    monkeypatch.setattr(command, "train_with_bar", training)
    monkeypatch.setattr(command, "mine_if_needed", lambda patches: 0)

    def run(*arguments, toml=""):
        (empty / "vr.toml").write_text(toml)
        result = vr("train", *arguments, "--device", "cpu")
        assert result.code == 0, result.err
        return seen.pop()

    return run


def test_no_flag_is_the_recipe(settings_of):
    assert settings_of() == MODERN
    assert settings_of("--recipe", "wang2015") == TrainSettings.from_recipe("wang2015", {})


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["--backbone", "resnet18"], {"backbone": "resnet18"}),
        (["--size", "96", "--dim", "32"], {"size": 96, "dim": 32}),
        (["--gray"], {"channels": "gray"}),
        (["--loss", "rank-hard"], {"loss": "rank-hard"}),
        (["--steps", "7", "--batch-pairs", "9"], {"steps": 7, "batch_pairs": 9}),
        (["--rate", "0.5", "--ema", "0.9"], {"rate": 0.5, "ema": 0.9}),
        (["--positives", "track", "--turn", "180"], {"positives": "track", "turn": 180.0}),
        (["--split", "video", "--held-out", "0.5"], {"split": "video", "held_out": 0.5}),
        (["--keep", "best", "--seed", "3"], {"keep": "best", "seed": 3}),
        (["--set", "margin=0.4"], {"margin": 0.4}),
        (["--set", "negatives=8", "--set", "cameras=one"], {"negatives": 8, "cameras": "one"}),
        (["--set", "known-negatives=false"], {"known_negatives": False}),
        (["--set", " rate = 1e-3 "], {"rate": 1e-3}),
    ],
)
def test_a_flag_changes_its_setting_and_no_other(settings_of, arguments, changes):
    assert settings_of(*arguments) == MODERN.changed(**changes)


def test_gray_goes_with_any_recipe(settings_of):
    wang = settings_of("--recipe", "wang2015", "--gray")
    assert wang == TrainSettings.from_recipe("wang2015", {"channels": "gray"})
    assert wang.preprocessing.channels == "gray"
    assert settings_of(toml="[train]\ngray = true") == MODERN.changed(channels="gray")


def test_vr_toml_may_hold_a_list_of_settings(settings_of):
    toml = '[train]\nsteps = 70\nset = ["margin=0.4", "negatives=8"]'
    assert settings_of(toml=toml) == MODERN.changed(steps=70, margin=0.4, negatives=8)


def test_what_is_typed_beats_vr_toml_whichever_way_it_is_said(settings_of):
    toml = '[train]\nrate = 0.5\nset = ["steps=70", "margin=0.4"]'
    assert settings_of("--set", "rate=0.25", toml=toml) == MODERN.changed(rate=0.25)
    assert settings_of("--steps", "9", toml=toml) == MODERN.changed(rate=0.5, steps=9, margin=0.4)


def test_every_setting_can_be_changed_by_set(settings_of):
    for name, value in MODERN.as_json().items():
        if name in ("recipe", "compile") or value == "":
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        assert settings_of("--set", f"{name}={text}") == MODERN


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "marign=0.4"], ["marign", "Did you mean margin?"]),
        (["--set", "qqqq=1"], ["qqqq", "Known: ", "hard_after"]),
        (["--set", "margin"], ["margin", "NAME=VALUE"]),
        (["--set", "margin=wide"], ["margin", "wide", "a number"]),
        (["--set", "steps=2.5"], ["steps", "2.5", "a whole number"]),
        (["--set", "augment=maybe"], ["augment", "maybe", "true or false"]),
        (["--set", "hard_after=2"], ["hard_after", "from 0 to 1"]),
        (["--set", "rate=nan"], ["rate is nan"]),
        (["--set", "recipe=modern"], ["--recipe"]),
        (["--rate", "1", "--set", "rate=2"], ["rate", "twice", "--rate", "--set rate=2"]),
        (["--set", "rate=1", "--set", "rate=2"], ["rate", "twice", "--set rate=1"]),
        (["--gray", "--set", "channels=bgr"], ["channels", "twice", "--gray"]),
        (["--turn", "181"], ["turn is 181", "from 0 to 180"]),
        (["--ema", "1"], ["ema is 1"]),
        (["--positives", "tracks"], ["positives", "Did you mean track?"]),
        (["--keep", "first"], ["keep", "Use one of: last, best"]),
        (["--keep", "best", "--held-out", "0"], ["keep is 'best'"]),
        (["--set", "pairs_per_track=9999"], ["pairs_per_track is 9999", "batch_pairs"]),
        (["--backbone", "alexnet", "--size", "40"], ["40x40"]),
        (["--gpus", "0"], ["--gpus"]),
        (["--gpus", "2", "--device", "cpu", "--compile"], ["compile is true"]),
        (["--size", "15"], ["size is 15", "from 16 to 4096"]),
        (["--loss", "rank-hard", "--set", "negatives=1"], ["negatives is 1", "rand_ratio"]),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_mined(
    refuses, empty, monkeypatch, arguments, words
):
    def mining(patches):
        raise AssertionError("it got as far as mining")

    monkeypatch.setattr(command, "mine_if_needed", mining)
    refuses(2, ["train", *arguments], *words)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--gpus", "1"], ["--gpus", "2"], ["--device", "cuda"]])
def test_gpus_that_are_not_there_are_refused_before_anything_is_mined(refuses, empty, arguments):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    refuses(6, ["train", *arguments], arguments[0])
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [["--gray"], ["--set", "margin=1"], ["--init", "x"], ["--recipe", "modern"], ["--overwrite"]],
)
def test_resume_refuses_every_flag_that_is_a_setting(refuses, empty, flags):
    refuses(2, ["train", "--resume", *flags], flags[0], "cannot change")
