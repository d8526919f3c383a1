"""What is installed, told from folders of metadata as pip leaves them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import MissingError
from toolkit.machine.packages import NEEDED, Distribution, Package, list_packages, rivals_of
from toolkit.optional import OPTIONAL, install_line, remedy, require

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes a NAME.dist-info into an otherwise empty path."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    def write(name: str, version: str, *, top: str = "", record: str = "") -> Path:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        if top:
            (folder / "top_level.txt").write_text(top + "\n")
        (folder / "RECORD").write_text(record)
        return folder

    return write


def by_name(name: str) -> Package:
    return next(package for package in list_packages() if package.name == name)


def test_nothing_is_installed(install: Install) -> None:
    assert all(package.distributions == () for package in list_packages())
    assert rivals_of("faiss") == ()


def test_every_package_of_an_extra_and_every_needed_one_is_listed() -> None:
    names = [package.name for package in list_packages()]
    assert names == [*NEEDED, *OPTIONAL]
    assert [package.needed for package in list_packages()].count(True) == len(NEEDED)


def test_a_package_by_the_folder_that_it_declares(install: Install) -> None:
    install("faiss-cpu", "1.15.1", top="faiss\nfaiss_cpu.libs")
    assert by_name("faiss").distributions == (Distribution("faiss-cpu", "1.15.1"),)
    assert not by_name("faiss").twice


def test_a_package_by_its_files(install: Install) -> None:
    install("onnxruntime", "1.32.0", record="onnxruntime/__init__.py,,\nother/x.py,,\n")
    install("pillow", "13.0.0", record="PIL/Image.py,,\npillow-13.0.0.dist-info/RECORD,,\n")
    install("single", "1.0", record="timm.py,,\n")
    assert by_name("onnxruntime").distributions == (Distribution("onnxruntime", "1.32.0"),)
    assert by_name("PIL").distributions == (Distribution("pillow", "13.0.0"),)
    assert by_name("timm").distributions == (Distribution("single", "1.0"),)


@pytest.mark.parametrize(
    ("name", "rivals"),
    [
        ("faiss", ["faiss-cpu", "faiss-gpu-cuvs"]),
        ("onnxruntime", ["onnxruntime", "onnxruntime-gpu"]),
        ("cv2", ["opencv-contrib-python-headless", "opencv-python"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_two_distributions_of_one_package(name: str, rivals: list[str], install: Install) -> None:
    for rival in reversed(rivals):
        install(rival, "1.2", top=name)
    package = by_name(name)
    assert [owner.name for owner in package.distributions] == rivals
    assert package.twice
    assert [rival.name for rival in rivals_of(name)] == rivals


def test_the_same_file_of_two_distributions(install: Install) -> None:
    install("onnxruntime", "1.32", record="onnxruntime/__init__.py,,\nonnxruntime/cpu.so,,\n")
    install("onnxruntime-gpu", "1.31", record="onnxruntime/__init__.py,,\nonnxruntime/gpu.so,,\n")
    assert by_name("onnxruntime").twice


def test_a_distribution_that_only_adds_files_is_no_rival(install: Install) -> None:
    install("ray", "2.60", record="ray/__init__.py,,\n")
    install("ray-plugin", "1.0", record="ray/plugins/one.py,,\n")
    assert len(by_name("ray").distributions) == 2
    assert not by_name("ray").twice
    assert rivals_of("ray") == ()


def test_the_same_distribution_in_two_folders_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("faiss-cpu", "1.15.1", top="faiss")
    later = tmp_path / "system" / "Faiss_CPU-1.0.dist-info"
    later.mkdir(parents=True)
    (later / "METADATA").write_text("Metadata-Version: 2.1\nName: Faiss.CPU\nVersion: 1.0\n")
    (later / "top_level.txt").write_text("faiss\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), str(tmp_path / "system")])
    assert by_name("faiss").distributions == (Distribution("faiss-cpu", "1.15.1"),)


def test_what_an_interrupted_pip_left_is_passed_over(install: Install, tmp_path: Path) -> None:
    (tmp_path / "~aiss_cpu-1.0.dist-info").mkdir()
    nameless = tmp_path / "faiss-2.0.dist-info"
    nameless.mkdir()
    (nameless / "METADATA").write_text("Metadata-Version: 2.1\n")
    (nameless / "top_level.txt").write_text("faiss\n")
    install("faiss-cpu", "1.15.1", top="faiss")
    assert by_name("faiss").distributions == (Distribution("faiss-cpu", "1.15.1"),)


def test_a_missing_package_names_its_install_line(install: Install) -> None:
    assert install_line("faiss") == "pip install 'vr-toolkit[cpu]'"
    with pytest.raises(MissingError, match="needs the package timm") as caught:
        require("timm")
    assert caught.value.mend == "Install the extra timm: pip install 'vr-toolkit[timm]'."


def test_a_package_that_is_installed_twice_and_broken_says_so(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "faiss"]:
        monkeypatch.delitem(sys.modules, name)  # another test may have loaded the real one
    (tmp_path / "faiss").mkdir()
    (tmp_path / "faiss/__init__.py").write_text("import faiss.swigfaiss\n")  # uninstalled
    install("faiss-cpu", "1.15.1", top="faiss")
    install("faiss-gpu-cuvs", "1.15.1", top="faiss")
    with pytest.raises(MissingError) as caught:
        require("faiss")
    assert "pip uninstall -y faiss-cpu faiss-gpu-cuvs; pip install 'vr-toolkit[cpu]'" in (
        caught.value.mend
    )


def test_a_remedy_where_nothing_is_installed_twice(install: Install) -> None:
    install("onnxruntime", "1.32", top="onnxruntime")
    assert remedy("onnxruntime", "Use --device cpu.") == "Use --device cpu."


def test_a_processor_build_over_a_gpu_build_is_the_first_thing_to_mend(install: Install) -> None:
    install("onnxruntime", "1.32", top="onnxruntime")
    install("onnxruntime-gpu", "1.31", top="onnxruntime")
    assert remedy("onnxruntime", "Use --device cpu.").startswith(
        "onnxruntime and onnxruntime-gpu are installed. They share the folder onnxruntime/"
    )
