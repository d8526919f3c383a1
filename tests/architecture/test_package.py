"""What the wheel holds, and what no file of the project may name."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("toolkit", "deploy", "indexes", "cli")

# Put together here, so that this file does not hold what it forbids.
FORBIDDEN = [
    re.compile(pattern)
    for pattern in (
        "/" + "work/",
        "/" + "root/",
        "/" + "home/[a-z]",
        "/" + "Users/",
        "files" + r"\.pythonhosted",
        "pypi" + r"\.(org|nvidia)",
        r"index-url\s*=",
    )
]


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("this is no git checkout")
    paths = [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_this_machine_or_a_registry() -> None:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for pattern in FORBIDDEN
            if (match := pattern.search(text))
        ]
    assert found == []


def expected_files() -> set[str]:
    """Every file of the four packages, but for what Python leaves behind."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == expected_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    assert "indexes/templates/results.html" in inside


def test_the_wheel_brings_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [entry] = [n for n in archive.namelist() if n.endswith("/entry_points.txt")]
        assert archive.read(entry).decode().split() == [
            "[console_scripts]", "vr", "=", "cli.main:run",
        ]  # fmt: skip
        [licence] = [n for n in archive.namelist() if n.endswith("licenses/LICENSE")]
        assert "Apache License" in archive.read(licence).decode()
