"""--init: what is loaded equals the source tensor by tensor; what does not fit is all named."""

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.errors import MismatchError, UsageError
from toolkit.networks import weight_files
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.initial import check_initial, load_initial
from toolkit.networks.saved import save_model
from toolkit.preprocess import Preprocessing


def fresh(backbone="small", dim=8, seed=0, size=32, **changes):
    torch.manual_seed(seed)
    return EmbeddingNetwork(backbone, Preprocessing(size, size, **changes), dim)


def assert_same(network, tensors, names):
    state = network.state_dict()
    assert names
    for name in names:
        assert torch.equal(state[name], tensors[name]), name


def test_a_run_gives_every_weight(tmp_path):
    old = fresh(seed=1)
    old.preprocess.mean.fill_(0.3)
    save_model(old, tmp_path, {})
    new = fresh()
    initial = load_initial(new, str(tmp_path))
    assert_same(new, old.state_dict(), old.state_dict())
    assert set(initial.loaded) == set(old.state_dict())
    assert (initial.fresh, initial.unused) == ((), ())


def test_of_a_run_with_another_dim_the_head_stays_fresh(tmp_path):
    old = fresh(dim=8, seed=1)
    save_model(old, tmp_path, {})
    new = fresh(dim=12)
    before = new.backbone.head.weight.clone()
    initial = load_initial(new, str(tmp_path))
    assert initial.fresh == ("backbone.head.weight", "backbone.head.bias")
    assert torch.equal(new.backbone.head.weight, before)
    body = [name for name in old.state_dict() if ".head." not in name]
    assert_same(new, old.state_dict(), body)


def test_of_a_run_with_another_input_the_mean_is_not_taken(tmp_path):
    old = fresh(seed=1)
    old.preprocess.mean.fill_(0.3)
    save_model(old, tmp_path, {})
    new = fresh(channels="gray")
    initial = load_initial(new, str(tmp_path))
    assert new.preprocess.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert initial.unused == ("preprocess.deviation", "preprocess.mean")
    assert torch.equal(new.backbone.head.weight, old.backbone.head.weight)


def test_a_run_of_another_backbone_is_refused(tmp_path):
    save_model(fresh(), tmp_path, {})
    with pytest.raises(MismatchError, match="the backbone small, not resnet18"):
        load_initial(fresh("resnet18"), str(tmp_path))


def test_everything_that_does_not_fit_is_listed_at_once(tmp_path):
    """fc6 of AlexNet has the size of the input in it; a weight that is missing is named too."""
    weights = fresh("alexnet", size=67).backbone.state_dict()
    weights["conv3.weight"] = torch.zeros(384, 256, 5, 5)
    del weights["conv4.bias"]
    save_file(weights, tmp_path / "w.safetensors")
    new = fresh("alexnet", size=99)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    with pytest.raises(MismatchError) as caught:
        load_initial(new, str(tmp_path / "w.safetensors"))
    for part in ("conv3.weight: (384, 256, 5, 5), not (384, 256, 3, 3)", "conv4.bias is missing",
                 "fc6.weight: (4096, 256), not (4096, 1024)"):  # fmt: skip
        assert part in caught.value.problem
    assert_same(new, before, before)  # nothing was half loaded


def published(wrap=""):
    """A ResNet-18 as it is published: a classifier of ten classes, counters left out."""
    weights = fresh("resnet18", dim=10, seed=1).backbone.state_dict()
    return {wrap + n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}


@pytest.mark.parametrize("wrap", ["", "module.", "backbone.", "module.encoder_q."])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_published_state_dict_loads_under_its_own_names(wrap, ending, tmp_path):
    weights = published(wrap)
    path = tmp_path / f"resnet18{ending}"
    if ending == ".pth":
        torch.save({"state_dict": weights, "epoch": 3}, path)
    else:
        save_file(weights, path)
    new = fresh("resnet18")
    initial = load_initial(new, str(path))
    body = [f"backbone.{n.removeprefix(wrap)}" for n in weights if ".fc." not in f".{n}"]
    assert_same(new, {f"backbone.{n.removeprefix(wrap)}": t for n, t in weights.items()}, body)
    assert sorted(initial.loaded) == sorted(body)
    assert initial.fresh == ("backbone.fc.weight", "backbone.fc.bias")


def test_the_old_format_of_torch_is_read(tmp_path):
    torch.save(published(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert len(load_initial(fresh("resnet18"), str(tmp_path / "w.pth")).loaded) == 100


def test_half_a_head_is_none(tmp_path):
    weights = {n: t for n, t in published().items() if n != "fc.bias"}
    save_file(weights, tmp_path / "w.safetensors")
    initial = load_initial(fresh("resnet18", dim=10), str(tmp_path / "w.safetensors"))
    assert set(initial.fresh) == {"backbone.fc.weight", "backbone.fc.bias"}


def test_a_file_that_lacks_convolutions_is_refused(tmp_path):
    weights = {n: t for n, t in published().items() if not n.startswith("layer4")}
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(MismatchError, match=r"layer4\.0\.conv1\.weight is missing.*and \d+ more"):
        load_initial(fresh("resnet18"), str(tmp_path / "w.safetensors"))


def test_a_checkpoint_of_a_run_is_a_state_dict_too(tmp_path):
    old = fresh(seed=1)
    torch.save({"version": 1, "model": old.state_dict(), "step": 4}, tmp_path / "best.pt")
    new = fresh()
    load_initial(new, str(tmp_path / "best.pt"))
    assert torch.equal(new.backbone.head.weight, old.backbone.head.weight)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"conv1.weight": Evil()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(MismatchError, match="no readable weights file"):
            load_initial(fresh(), str(tmp_path / name))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_damaged_files_are_refused(ending, content, tmp_path):
    (tmp_path / f"w{ending}").write_bytes(content)
    with pytest.raises(MismatchError, match="no readable weights file"):
        load_initial(fresh(), str(tmp_path / f"w{ending}"))


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, torch.zeros(3)])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(MismatchError, match="no state dict"):
        load_initial(fresh(), str(tmp_path / "w.pt"))


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**21)
    assert (tmp_path / "w.pt").stat().st_size < 2**14
    with pytest.raises(MismatchError, match="at most"):
        load_initial(fresh(), str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("backbone", "init", "match"),
    [
        ("small", "nowhere", "no weights at nowhere"),
        ("small", "someone/some-weights", "no weights at"),
        ("small", "{}", r"holds no model\.safetensors"),
        ("small", "{}/a.bin", "no file of weights"),
        ("hf:x/y", "{}/a.bin", "no file of weights"),
        ("hf:x/y", "{}/bundle", "exported bundle"),
        ("small", "{}/bundle", "exported bundle"),
    ],
)
def test_an_impossible_init_is_refused_before_anything_is_built(backbone, init, match, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=match):
        check_initial(backbone, init.format(tmp_path))


def test_a_possible_init_passes(tmp_path):
    save_model(fresh(), tmp_path, {})
    check_initial("small", str(tmp_path))
    check_initial("small", str(tmp_path / "model.safetensors"))
    check_initial("hf:x/y", "x/y")


def test_the_digest_is_that_of_what_was_loaded(tmp_path):
    save_model(fresh(seed=1), tmp_path / "a", {})
    save_model(fresh(seed=1), tmp_path / "b", {"other": "lineage"})
    save_model(fresh(seed=2), tmp_path / "c", {})
    first, same, other = (load_initial(fresh(), str(tmp_path / name)) for name in "abc")
    assert first.digest == same.digest != other.digest
    assert json.loads(json.dumps(first.as_json()))["source"] == str(tmp_path / "a")


# --- checkpoints of transformers ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["resnet", "vit", "dinov2", "convnextv2", "dinov3_vit"])
def test_a_checkpoint_of_transformers_gives_its_weights(kind, checkpoint, capfd):
    import transformers

    folder = checkpoint(kind, weights=True)
    capfd.readouterr()
    new = fresh(f"hf:{folder}")
    initial = load_initial(new, str(folder))
    assert capfd.readouterr() == ("", "")
    torch.manual_seed(5)  # as when it was written: files name some weights otherwise
    original = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
    written = original.state_dict()
    pooler = {name for name in written if name.startswith("pooler.")} if kind == "vit" else set()
    body = new.backbone.body.state_dict()
    assert set(body) == set(written) - pooler
    for name, tensor in body.items():
        assert torch.equal(tensor, written[name]), name
    assert set(initial.fresh) == {"backbone.head.weight", "backbone.head.bias"}
    assert set(initial.unused) == pooler


def test_a_checkpoint_of_the_cache_is_loaded_by_its_name(checkpoint, tmp_path):
    entry = tmp_path / "hub" / "models--someone--tiny"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("1" * 40)
    shutil.copytree(checkpoint("vit", weights=True), entry / "snapshots" / ("1" * 40))
    new = fresh("hf:someone/tiny")
    load_initial(new, "someone/tiny")
    stored = load_file(entry / "snapshots" / ("1" * 40) / "model.safetensors")
    name = "embeddings.patch_embeddings.projection.weight"
    assert torch.equal(new.backbone.body.state_dict()[name], stored[name])


def test_a_checkpoint_of_another_shape_is_refused_with_every_misfit(checkpoint):
    new = fresh(f"hf:{checkpoint('vit', num_hidden_layers=3)}")
    other = checkpoint("vit", weights=True, image_size=64)
    with pytest.raises(MismatchError) as caught:
        load_initial(new, str(other))
    assert "position_embeddings: (1, 65, 16), not (1, 17, 16)" in caught.value.problem
    assert "is missing" in caught.value.problem


def test_a_checkpoint_without_safetensors_is_refused(checkpoint):
    folder = checkpoint("vit", weights=True)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"holds no model\.safetensors"):
        load_initial(fresh(f"hf:{folder}"), str(folder))


def test_a_damaged_checkpoint_is_refused(checkpoint):
    folder = checkpoint("vit", weights=True)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        load_initial(fresh(f"hf:{folder}"), str(folder))


def test_a_sharded_checkpoint_needs_all_its_parts(checkpoint):
    folder = checkpoint("vit", weights=True)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {}
    for number, part in enumerate(np.array_split(sorted(weights), 2), 1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file({str(n): weights[n] for n in part}, folder / name, {"format": "pt"})
        index |= {str(n): name for n in part}
    content = {"metadata": {"total_size": 1}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    new = fresh(f"hf:{folder}")
    load_initial(new, str(folder))
    name = "layernorm.weight"
    assert torch.equal(new.backbone.body.state_dict()[name], weights[name])
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UsageError, match="holds no model"):
        load_initial(fresh(f"hf:{folder}"), str(folder))


def test_a_state_dict_of_a_run_with_such_a_backbone_gives_its_head_too(checkpoint, tmp_path):
    folder = checkpoint("vit")
    old, new = fresh(f"hf:{folder}", seed=1), fresh(f"hf:{folder}")
    torch.save({"model": old.state_dict()}, tmp_path / "last.pt")
    initial = load_initial(new, str(tmp_path / "last.pt"))
    assert initial.fresh == ()
    assert_same(new, old.state_dict(), initial.loaded)
    assert "backbone.head.weight" in initial.loaded


def test_a_run_of_a_transformers_backbone_is_a_beginning_too(checkpoint, tmp_path):
    """The folder may have another name by now: what counts is that the weights fit."""
    old = fresh(f"hf:{checkpoint('vit')}", seed=1)
    save_model(old, tmp_path / "run", {})
    new = fresh(f"hf:{checkpoint('vit')}", dim=12)
    load_initial(new, str(tmp_path / "run"))
    body = [n for n in old.state_dict() if n.startswith("backbone.body.")]
    assert_same(new, old.state_dict(), body)
