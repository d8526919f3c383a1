"""Bundles of every precision: the same bytes in another process, and past the same gate."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from deploy.export import Evidence, export_bundle
from deploy.onnx.make import GraphOptions
from deploy.precision import Calibration
from deploy.proof.parity import Precision
from deploy.proof.verify import verify_bundle
from deploy.runtimes import open_embedder
from deploy.settings import ExportSettings

REPOSITORY = Path(__file__).parents[2]
Patches = tuple[NDArray[np.uint8], NDArray[np.uint8]]

# Run twice, in this process and in another one with other hashes of strings.
CODE = """
import hashlib, sys
import torch
from deploy.onnx.make import make_onnx
from toolkit.model_card import ModelCard
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing
def digest(backbone):
    torch.manual_seed(5)
    spec = Preprocessing(67, 67, "bgr")
    mean_image = backbone_defaults(backbone).mean_image
    network = EmbeddingNetwork(backbone, spec, 8, mean_image=mean_image).eval()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    model = make_onnx(network, ModelCard(backbone, 8, spec, "f" * 64, {"run": "x", "a": 1}))
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
print([digest(name) for name in ("alexnet", "resnet18")])
"""


@pytest.mark.slow
def test_every_backbone_gives_the_same_bytes_in_two_processes() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "77")
    ]
    assert said[0] == said[1]
    assert len(said[0]) > 128


def export(folder: Path, run: Path, patches: Patches, precision: Precision) -> bytes:
    calibration = Calibration.of(np.concatenate([*patches] * 2))
    settings = ExportSettings(precision, graph=GraphOptions(21))
    evidence = Evidence(calibration=calibration)
    report = export_bundle(run, folder, *patches, settings, evidence)
    assert report.bundle.precision == precision
    return report.bundle.onnx.read_bytes()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_passes_its_gate_and_is_the_same_twice(
    precision: Precision, run_folder: Path, patches: Patches, tmp_path: Path
) -> None:
    first = export(tmp_path / "first", run_folder, patches, precision)
    assert export(tmp_path / "second", run_folder, patches, precision) == first
    bundle = verify_bundle(tmp_path / "second", "onnx", "cpu").bundle
    assert bundle.onnx_sha256 == hashlib.sha256(first).hexdigest()
    model = onnx.load_from_string(first)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key for entry in model.metadata_props} >= {"fingerprint", "preprocessing"}
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("images", "embeddings")
    assert bundle.quantization


def test_int8_is_run_as_it_was_proven_also_when_opened_quickly(
    run_folder: Path, patches: Patches, tmp_path: Path
) -> None:
    """model.onnx itself clips other values than the CPU's form of it, so one may not stand in."""
    export(tmp_path / "bundle", run_folder, patches, "int8")
    proven = open_embedder(tmp_path / "bundle", "onnx", "cpu").embed(patches[0])
    shutil.rmtree(tmp_path / "bundle" / "engines")
    quick = open_embedder(tmp_path / "bundle", "onnx", "cpu", quick=True)
    np.testing.assert_array_equal(quick.embed(patches[0]), proven)
    assert (tmp_path / "bundle" / "engines" / "model.cpu.graph").is_file()
