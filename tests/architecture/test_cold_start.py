"""What a fresh interpreter has loaded after a command: start-up must stay fast."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

HEAVY = (
    "torch", "faiss", "onnx", "onnxruntime", "onnxscript", "cv2", "av", "jinja2", "safetensors",
    "tensorboardX", "tensorrt",
)  # fmt: skip

COMMANDS = {
    "vr": [
        "mine",
        "train",
        "eval",
        "transfer",
        "export",
        "runs",
        "import",
        "index",
        "label",
        "search",
        "explain",
        "demo",
        "doctor",
        "embed",
    ],
    "vr index": ["build", "info"],
    "vr label": ["import", "spread", "suggest", "list", "undo", "export"],
    "vr import": ["caffe", "mean", "trainlist"],
}


def loaded_after(arguments: Sequence[str | Path], names: Sequence[str] = HEAVY) -> list[str]:
    """Which of the packages an interpreter holds once `vr ARGUMENTS` has come to its end."""
    script = (
        "import json, sys\nfrom cli.main import main\ncode = main(sys.argv[1:])\n"
        f"print(json.dumps([name for name in {list(names)} if name in sys.modules]))\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def every_help() -> list[list[str]]:
    helps = [["--help"], ["--version"]]
    for parent, names in COMMANDS.items():
        helps += [[*parent.split()[1:], name, "-h"] for name in names]
    return helps


def test_the_list_of_commands_here_is_whole() -> None:
    import typer

    from cli.app import app

    root = typer.main.get_command(app)
    assert sorted(COMMANDS["vr"]) == sorted(root.commands)  # type: ignore[attr-defined]
    index = root.commands["index"]  # type: ignore[attr-defined]
    assert set(COMMANDS["vr index"]) <= set(index.commands)


@pytest.mark.parametrize("arguments", every_help(), ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(arguments, (*HEAVY, "numpy", "PIL")) == []


def test_a_mistyped_flag_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom cli.main import main\nassert main(['train', '--lss']) == 2\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_search_never_loads_torch(tmp_path: Path, searchable: Callable[[Path], Path]) -> None:
    image = searchable(tmp_path)
    arguments = [
        "search", image, "--model", tmp_path / "exported", "--index", tmp_path / "index",
        "--html", tmp_path / "hits.html",
    ]  # fmt: skip
    assert loaded_after(arguments) == ["faiss", "onnxruntime", "jinja2"]


def test_index_build_of_images_never_loads_torch(
    tmp_path: Path, searchable: Callable[[Path], Path]
) -> None:
    image = searchable(tmp_path)
    build = ["index", "build", image, "--model", tmp_path / "exported", "--index", tmp_path / "i"]
    assert "torch" not in loaded_after(build)


@pytest.fixture(scope="session")
def searchable() -> Callable[[Path], Path]:
    """Fills a folder with an image, a bundle of an untrained network and an index of it."""

    def fill(folder: Path) -> Path:
        import torch

        from cli.main import main
        from deploy.export import export_bundle
        from toolkit.images import encode_jpeg
        from toolkit.networks.embedder import EmbeddingNetwork
        from toolkit.networks.saved import save_model
        from toolkit.preprocess import Preprocessing

        torch.manual_seed(1)
        network = EmbeddingNetwork("small", Preprocessing(32, 32), dim=8).eval()
        (folder / "run").mkdir()
        save_model(network, folder / "run", {"run": "test"})
        patches = np.random.default_rng(2).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
        export_bundle(folder / "run", folder / "exported", *patches)
        image = folder / "image.jpg"
        image.write_bytes(encode_jpeg(patches[0, 0]))
        command = ["index", "build", image, "--model", folder / "exported"]
        assert main([*map(str, command), "--index", str(folder / "index")]) == 0
        return image

    return fill
