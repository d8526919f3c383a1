"""Backbones hf:NAME against transformers run by hand, on tiny checkpoints with random weights."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from toolkit.errors import MismatchError, MissingError, UsageError
from toolkit.evaluation.evaluate import random_network
from toolkit.networks.backbones import backbone_defaults, describe_backbone
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.preprocess import Preprocessing

KINDS = ["resnet", "convnextv2", "vit", "dinov2", "dinov3_vit", "swin"]


def fresh(folder, size=32, dim=8, **changes):
    torch.manual_seed(0)
    return EmbeddingNetwork(f"hf:{folder}", Preprocessing(size, size, **changes), dim).eval()


def pictures(count=2, size=32):
    rng = np.random.default_rng(count)
    return torch.from_numpy(rng.integers(0, 256, (count, size, size, 3), np.uint8))


def pooled_by_hand(kind, output):
    """As the papers pool: the class token of a ViT, the mean over all places elsewhere."""
    hidden = output.last_hidden_state
    if kind == "resnet":
        return hidden.mean((2, 3))
    if kind == "convnextv2":
        return output.pooler_output
    return hidden.mean(1) if kind == "swin" else hidden[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_the_head_over_what_transformers_gives(kind, checkpoint):
    network = fresh(checkpoint(kind))
    images = pictures()
    x = (images.double() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    options = {"interpolate_pos_encoding": True} if kind == "swin" else {}
    with torch.no_grad():
        output = network.backbone.body(pixel_values=x.float().permute(0, 3, 1, 2), **options)
        features = network.backbone.head(pooled_by_hand(kind, output))
        expected = features / features.norm(dim=1, keepdim=True)
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_weight_gets_a_gradient(kind, checkpoint, trains_in_bfloat16):
    trains_in_bfloat16(f"hf:{checkpoint(kind)}")


def test_a_weight_that_nothing_depends_on_is_frozen(checkpoint):
    network = fresh(checkpoint("dinov2"))
    frozen = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    assert frozen == ["backbone.body.embeddings.mask_token"]


@pytest.mark.parametrize(
    ("pictures_of", "size", "mean", "deviation"),
    [
        (None, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"size": 24, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}, (24, 24), (0.5,) * 3,
         (0.25,) * 3),
        ({"size": {"shortest_edge": 40}, "crop_size": {"height": 16, "width": 24}}, (16, 24),
         (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"size": {"shortest_edge": 40}, "crop_size": 16, "do_center_crop": False}, (40, 40),
         (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"do_normalize": False}, (32, 32), (0.0,) * 3, (1.0,) * 3),
        # of pixels times 2/255: in our unit, which is 1/255, half of it
        ({"rescale_factor": 2 / 255, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, (32, 32),
         (0.5,) * 3, (0.5,) * 3),
    ],
)  # fmt: skip
def test_the_input_is_what_the_preprocessor_says(pictures_of, size, mean, deviation, checkpoint):
    defaults = backbone_defaults(f"hf:{checkpoint('vit', pictures=pictures_of)}")
    given = defaults.preprocessing
    assert (given.height, given.width) == size
    assert (given.channels, given.scale) == ("rgb", 1 / 255)
    np.testing.assert_allclose([defaults.mean, defaults.deviation], [mean, deviation])


def test_flipped_channels_are_bgr(checkpoint):
    folder = checkpoint("vit", pictures={"do_flip_channel_order": True})
    assert backbone_defaults(f"hf:{folder}").preprocessing.channels == "bgr"


@pytest.mark.parametrize("kind", ["vit", "dinov2", "convnextv2", "resnet", "dinov3_vit"])
def test_another_size_is_taken(kind, checkpoint):
    network = fresh(checkpoint(kind), size=64)
    assert network(pictures(2, 64)).shape == (2, 8)


def test_a_size_that_the_network_cannot_take_is_refused(checkpoint):
    folder = checkpoint("siglip_vision_model", hidden_size=16, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=32, image_size=32,
                        patch_size=16)  # fmt: skip
    assert fresh(folder, size=48)(pictures(1, 48)).shape == (1, 8)
    broken = checkpoint("vit", patch_size=64, image_size=64)
    with pytest.raises(UsageError, match="32x32 pixels"):
        fresh(broken)


def test_a_network_for_pictures_and_text_lends_its_pictures_part(checkpoint):
    part = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32}  # fmt: skip
    folder = checkpoint("clip", text_config=part,
                        vision_config={**part, "image_size": 32, "patch_size": 16})  # fmt: skip
    network = fresh(folder)
    assert type(network.backbone.body).__name__ == "CLIPVisionModel"
    assert network(pictures()).shape == (2, 8)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("not json", "no readable config"),
        ("[]", "no JSON object"),
        ("{}", "knows no model type None"),
        ('{"model_type": "nosuch"}', "knows no model type 'nosuch'"),
        ('{"model_type": "nosuch", "auto_map": {"AutoModel": "evil.py"}}', "never run"),
        ('{"model_type": "bert"}', "does not take pictures"),
        ('{"model_type": "vit", "num_channels": 1}', "1 channels"),
        ('{"model_type": "vit", "hidden_size": "wide"}', "makes no sense"),
        ('{"model_type": "vit", "image_size": "large"}', "makes no sense"),
    ],
)
def test_a_config_that_is_of_no_use_is_refused(content, match, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((UsageError, MismatchError), match=match):
        backbone_defaults(f"hf:{tmp_path}")


def test_a_network_that_hides_its_input_at_random_is_refused(checkpoint):
    folder = checkpoint("vit_mae", hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, image_size=64, patch_size=4)  # fmt: skip
    with pytest.raises(UsageError, match="at random"):
        fresh(folder, size=64)


def test_a_config_cannot_ask_for_foreign_attention_or_another_precision(checkpoint):
    folder = checkpoint("vit")
    config = json.loads((folder / "config.json").read_text())
    asked = {"_attn_implementation": "kernels-community/evil", "dtype": "bfloat16",
             "attn_implementation": "kernels-community/evil", "torch_dtype": "bfloat16",
             "auto_map": {"AutoModel": "evil.py"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**config, **asked}))
    network = fresh(folder)
    assert network.backbone.body.config._attn_implementation == "sdpa"
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert "evil" not in json.dumps(describe_backbone(f"hf:{folder}"))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("./not/there", "no folder"),
        ("/not/there", "no folder"),
        ("a/b/c", "no folder"),
        ("a b", "neither a folder nor the name"),
        ("nobody/nothing", "nobody/nothing is neither a folder here nor in the hub's cache"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_a_clear_error(name, match):
    with pytest.raises(UsageError, match=match):
        backbone_defaults(f"hf:{name}")


def test_a_folder_without_a_config_is_a_clear_error(tmp_path):
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        backbone_defaults(f"hf:{tmp_path}")


def test_a_checkpoint_in_the_cache_of_the_hub_is_found(checkpoint, tmp_path):
    """The layout that the hub's own client leaves."""
    entry = tmp_path / "hub" / "models--someone--tiny"
    commit = "0" * 40
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(commit)
    shutil.copytree(checkpoint("vit"), entry / "snapshots" / commit)
    assert fresh("someone/tiny")(pictures()).shape == (2, 8)


def test_without_transformers_the_install_line_is_named(monkeypatch, checkpoint):
    folder = checkpoint("vit")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"pip install 'vr-toolkit\[hf\]'"):
        backbone_defaults(f"hf:{folder}")


# --- at rest -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vit", "resnet", "dinov2"])
def test_a_saved_network_opens_without_the_folder_it_was_built_from(kind, checkpoint, tmp_path):
    folder = checkpoint(kind, pictures={"image_mean": [0.4, 0.5, 0.6], "size": 32})
    network = fresh(folder, channels="bgr")
    card = save_model(network, tmp_path / "run", {"run": "r"})
    shutil.rmtree(folder)
    loaded, read = load_model(tmp_path / "run")
    assert read == card
    assert card.architecture["config"]["model_type"] == kind
    assert loaded.preprocess.mean.flatten().tolist() == pytest.approx([0.6, 0.5, 0.4])
    with torch.no_grad():
        assert torch.equal(network(pictures()), loaded(pictures()))


def test_the_baseline_before_training_is_built_without_the_folder(checkpoint, tmp_path):
    folder = checkpoint("vit")
    card = save_model(fresh(folder), tmp_path / "run", {})
    shutil.rmtree(folder)
    first = random_network(card).embed(pictures().numpy())
    assert first.shape == (2, 8)
    np.testing.assert_array_equal(first, random_network(card).embed(pictures().numpy()))


def test_the_fingerprint_follows_the_architecture(checkpoint, tmp_path):
    """The same weights in a network of another activation are another network."""
    first = save_model(fresh(checkpoint("vit")), tmp_path / "a", {})
    other = save_model(fresh(checkpoint("vit", hidden_act="relu")), tmp_path / "b", {})
    again = save_model(fresh(checkpoint("vit")), tmp_path / "c", {})
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "damage",
    [
        lambda card: card.pop("architecture"),
        lambda card: card["architecture"].pop("config"),
        lambda card: card["architecture"].pop("input"),
        lambda card: card["architecture"]["config"].update(hidden_act="relu"),
        lambda card: card.update(architecture=[1]),
    ],
)
def test_a_damaged_architecture_is_a_mismatch(damage, checkpoint, tmp_path):
    save_model(fresh(checkpoint("vit")), tmp_path / "run", {})
    path = tmp_path / "run" / "model.json"
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError):
        load_model(tmp_path / "run")


def test_importing_the_networks_does_not_import_transformers():
    code = (
        "import sys; from toolkit.networks.backbones import backbone_defaults;"
        "backbone_defaults('resnet18');"
        "print([n for n in ('transformers', 'huggingface_hub', 'timm') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_building_is_silent(checkpoint, capfd, caplog):
    fresh(checkpoint("dinov2"))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
