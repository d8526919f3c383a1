"""Checkpoints of transformers as small as they come, written where a test can name them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing

VIT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "convnextv2": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32},
    "vit": VIT,
    "dinov2": {**VIT, "image_size": 48},
    "dinov3_vit": VIT,
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": 32,
             "patch_size": 4, "window_size": 4},
}  # fmt: skip

WriteCheckpoint = Callable[..., Path]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks a hub, and none sees what lies in this machine's cache."""
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> WriteCheckpoint:
    """Writes a folder with the config, and if asked weights and a preprocessor."""

    def write(kind: str, *, weights: bool = False, pictures: Any = None, **changes: Any) -> Path:
        import transformers

        folder = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}"
        config = transformers.CONFIG_MAPPING[kind](**{**TINY.get(kind, {}), **changes})
        if weights:
            torch.manual_seed(5)
            bars = transformers.utils.logging.is_progress_bar_enabled()
            transformers.utils.logging.disable_progress_bar()
            transformers.AutoModel.from_config(config).save_pretrained(folder)
            if bars:
                transformers.utils.logging.enable_progress_bar()
        else:
            config.save_pretrained(folder)
        if pictures is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
        return folder

    return write


@pytest.fixture
def trains_in_bfloat16() -> Callable[[str], None]:
    """Checks one step of a backbone as training takes it: autocast, channels_last."""

    def check(name: str) -> None:
        torch.manual_seed(0)
        network = EmbeddingNetwork(name, Preprocessing(32, 32), 8)
        network.to(memory_format=torch.channels_last)
        images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
        with torch.autocast("cpu", torch.bfloat16):
            x = network.preprocess(images).contiguous(memory_format=torch.channels_last)
            rows = network.embed_input(x)
        assert rows.dtype == torch.float32
        rows[0::2].sub(rows[1::2]).square().sum().backward()
        trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        assert [n for n, p in trained.items() if p.grad is None] == []
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())

    return check
