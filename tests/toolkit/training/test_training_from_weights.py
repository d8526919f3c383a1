"""Whole runs that begin from given weights, or with a backbone of another package."""

import shutil

import pytest
import torch

from toolkit.errors import Interrupted, MismatchError, UsageError
from toolkit.networks.saved import load_model
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.loop import train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings

QUICK = TrainSettings(
    size=32, dim=16, steps=2, batch_pairs=4, evaluate_every=9, precision="fp32", held_out=0.3
)
STILL = {"rate": 1e-9, "weight_decay": 0.0}  # a run that all but keeps its first weights


@pytest.fixture
def tiny_vit(tmp_path):
    import transformers

    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                    intermediate_size=32, image_size=32, patch_size=8)  # fmt: skip
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(config, add_pooling_layer=False)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit", model.state_dict()


def test_a_run_begins_from_a_run_and_its_lineage_says_so(learnable_patches, tmp_path):
    first, second = (RunFolder.create(tmp_path / name, overwrite=False) for name in "ab")
    train(learnable_patches, first, QUICK)
    train(learnable_patches, second, QUICK.changed(init=str(first.path), seed=5, **STILL))
    old, new = load_checkpoint(first.last).model, load_checkpoint(second.last).model
    for name in ("backbone.head.weight", "backbone.blocks.1.conv1.weight"):
        torch.testing.assert_close(new[name], old[name], atol=1e-6, rtol=0)
    lineage = load_model(second.path)[1].lineage
    assert lineage["init"]["source"] == str(first.path)
    assert len(lineage["init"]["digest"]) == 64
    assert "init" not in load_model(first.path)[1].lineage


def test_a_transformers_backbone_trains_from_its_checkpoint(learnable_patches, tmp_path, tiny_vit):
    folder, weights = tiny_vit
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    settings = QUICK.changed(backbone=f"hf:{folder}", init=str(folder), **STILL)
    report = train(learnable_patches, run, settings)
    assert report.loss == report.loss
    shutil.rmtree(folder)
    network, card = load_model(run.path)
    assert card.architecture["config"]["model_type"] == "vit"
    for name, tensor in network.backbone.body.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=0)


def test_a_resumed_run_still_knows_what_it_began_from(
    learnable_patches, tmp_path, tiny_vit, monkeypatch
):
    """The weights are in the checkpoint by then: the source is no longer asked for."""
    from toolkit.training.interrupt import StopRequest

    folder, _ = tiny_vit
    (tmp_path / "w").mkdir()
    shutil.copy(folder / "model.safetensors", tmp_path / "w")
    shutil.copy(folder / "config.json", tmp_path / "w")
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    settings = QUICK.changed(backbone=f"hf:{folder}", init=str(tmp_path / "w"))
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "asked", True, raising=False)
        patch.setattr(StopRequest, "__init__", lambda self: None)
        with pytest.raises(Interrupted):
            train(learnable_patches, run, settings)
    shutil.rmtree(tmp_path / "w")
    train(learnable_patches, run, run.read_settings(), resume=True)
    assert load_model(run.path)[1].lineage["init"]["source"] == str(tmp_path / "w")


@pytest.mark.parametrize("init", ["nowhere", "someone/something"])
def test_weights_that_are_not_there_are_refused_before_the_patches_are_read(init, tmp_path):
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    with pytest.raises(UsageError, match="no weights at"):
        train(tmp_path / "no patches here", run, QUICK.changed(init=init))


def test_weights_that_do_not_fit_leave_no_run(learnable_patches, tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "w.pt")
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    with pytest.raises(MismatchError, match="is missing"):
        train(learnable_patches, run, QUICK.changed(init=str(tmp_path / "w.pt")))
    assert not run.path.exists()
