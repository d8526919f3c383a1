"""A tiny workspace made once by the bare chain of commands; tests read it or work on a copy."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TINY = ("--steps", "4", "--size", "32", "--batch-pairs", "8", "--workers", "0")


@dataclass(frozen=True)
class Result:
    """What a command gave: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; anything beside it fails the test."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1, self.out
        content = json.loads(self.out)
        assert isinstance(content, dict)
        return content

    def fails(self, code: int, *words: str) -> "Result":
        """Check a user's error: the code, the words on stderr, no traceback, no data."""
        assert self.code == code, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, (word, self.err)
        return self


def run(*arguments: str | Path) -> Result:
    """`vr` in this process, in the current folder."""
    from cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def fails_both_ways(code: int, arguments: list[str], *words: str) -> None:
    """The same error for people (stdout empty) and with --json (one object on stdout)."""
    spoken = run(*arguments).fails(code, *words)
    assert spoken.out == ""
    assert spoken.err.startswith("error: ") or "\nerror: " in spoken.err
    told = run(*arguments, "--json").fails(code, *words).json
    assert set(told) == {"error", "mend", "exit_code"}
    assert told["exit_code"] == code
    for word in words:
        assert word in f"{told['error']} {told['mend']}"


@pytest.fixture(scope="session")
def vr() -> Callable[..., Result]:
    return run


@pytest.fixture(scope="session")
def refuses() -> Callable[..., None]:
    """refuses(5, ["search", "x.jpg"], "words"): the error, for people and with --json."""
    return fails_both_ways


@pytest.fixture(scope="session")
def vr_process() -> Callable[..., subprocess.Popen[str]]:
    """Starts the real command as a process of its own; `code` runs in it before `vr` does."""

    def start(
        *arguments: str | Path,
        code: str = "",
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> subprocess.Popen[str]:
        script = f"{code}\nfrom cli.main import run\nrun()"
        return subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(env or {}),
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings,
        )

    return start


@dataclass(frozen=True)
class Built:
    """The workspace and what each command of the chain said; not to be changed by a test."""

    folder: Path
    train: Result
    export: Result
    index: Result
    search: Result


@pytest.fixture(scope="session")
def built(moving_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The bare chain in a folder that holds one clip and an image of it."""
    from toolkit.images import encode_jpeg
    from toolkit.video.decode import frame_at

    folder = tmp_path_factory.mktemp("workspace")
    shutil.copy(moving_clip, folder / "clip.mp4")
    (folder / "image.jpg").write_bytes(encode_jpeg(frame_at(moving_clip, 3.0)))
    with chdir(folder):
        return Built(
            folder,
            run("train", *TINY, "--name", "first", "--json"),
            run("export", "--json"),
            run("index", "build", "--json"),
            run("search", "image.jpg", "--json"),
        )


@pytest.fixture
def workspace(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workspace, as the current folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(built.folder, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def other_bundle(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of another network, trained on the same patches."""
    folder = tmp_path_factory.mktemp("other")
    with chdir(built.folder):
        trained = run("train", *TINY, "--out", folder / "runs", "--dim", "16", "--name", "b")
        assert trained.code == 0, trained.err
        exported = run("export", folder / "runs" / "b", "--out", folder / "exported")
        assert exported.code == 0, exported.err
    return folder / "exported"


@pytest.fixture(scope="session")
def truncated_jpeg(built: Built) -> bytes:
    return (built.folder / "image.jpg").read_bytes()[:2000]


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Settings that make a training run take no time."""
    return TINY
