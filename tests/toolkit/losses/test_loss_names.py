"""Losses are found by the names of their modules."""

import subprocess
import sys
from pathlib import Path

import pytest

import toolkit.losses
from toolkit.errors import UsageError
from toolkit.losses import build_loss, loss_names
from toolkit.training.settings import TrainSettings

NEW = """
from toolkit.losses.base import PairLoss


class Nearness(PairLoss):
    def forward(self, embeddings, labels, generator=None, negatives=None):
        return -(embeddings[0::2] * embeddings[1::2]).sum(1).mean()


def build(settings):
    return Nearness()
"""


def test_the_names_are_those_of_the_modules():
    assert loss_names() == ["infonce", "rank-hard"]


@pytest.mark.parametrize("name", loss_names())
def test_every_loss_is_built_with_the_settings_of_a_run(name):
    settings = TrainSettings(
        loss=name, negatives=7, hard_ratio=0.25, rand_ratio=0.75, margin=0.3, temperature=0.2
    )
    loss = build_loss(settings.loss, settings)
    wanted = {"neg_num": 7, "hard_ratio": 0.25, "rand_ratio": 0.75, "margin": 0.3}
    for attribute, value in ({"temperature": 0.2} if name == "infonce" else wanted).items():
        assert getattr(loss, attribute) == value


def test_only_a_loss_that_draws_follows_the_curriculum():
    for name in loss_names():
        loss = build_loss(name, TrainSettings(loss=name))
        loss.set_ratios(0.0, 1.0)
        if name == "rank-hard":
            assert (loss.hard_ratio, loss.rand_ratio) == (0.0, 1.0)


def test_a_new_loss_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "near_by.py").write_text(NEW)
    monkeypatch.setattr(toolkit.losses, "__path__", [*toolkit.losses.__path__, str(tmp_path)])
    assert "near-by" in loss_names()
    import torch

    x = torch.eye(4)
    value = build_loss("near-by", TrainSettings())(x, torch.tensor([0, 0, 1, 1]))
    assert value.item() == 0
    sys.modules.pop("toolkit.losses.near_by")


@pytest.mark.parametrize("name", ["base", "rank_hard", "", "os", "../infonce"])
def test_a_name_that_is_no_loss_is_refused(name):
    with pytest.raises(UsageError, match="There is no loss"):
        build_loss(name, TrainSettings())


def test_a_near_name_is_guessed():
    with pytest.raises(UsageError, match="Did you mean infonce"):
        build_loss("info-nce", TrainSettings())


def test_the_names_are_had_without_torch():
    code = (
        "import sys, toolkit.losses as l; assert l.loss_names(); assert 'torch' not in sys.modules"
    )
    root = Path(toolkit.losses.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
