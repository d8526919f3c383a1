"""Where the shards of a run are looked for, when the workspace was entered or moved."""

from pathlib import Path

import pytest

from toolkit.errors import MismatchError
from toolkit.training.held_out import patches_folder
from toolkit.training.run_folder import RunFolder
from toolkit.workspace import write_json


def make_run(workspace: Path, noted: str, *, train_pairs: int = 3) -> RunFolder:
    run = workspace / "runs" / "one"
    record = {"patches": noted, "digest": "d" * 64, "train_pairs": train_pairs, "held_out": []}
    write_json(run / "data.json", record)
    return RunFolder(run)


@pytest.mark.parametrize("noted", ["patches", "demo/patches"])
@pytest.mark.parametrize("current", [".", "demo", "demo/runs", "elsewhere"])
def test_a_relative_path_is_found_from_any_folder(
    noted: str, current: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "demo", noted)
    for folder in ("demo/patches", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / current)
    assert patches_folder(run).resolve() == tmp_path / "demo" / "patches"


def test_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "demo", "patches")
    for folder in ("demo/patches", "patches"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert patches_folder(run).resolve() == tmp_path / "patches"


def test_what_was_given_is_taken_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "demo", "patches")
    (tmp_path / "demo" / "patches").mkdir()
    with pytest.raises(MismatchError, match=r"are not at .*typo"):
        patches_folder(run, tmp_path / "typo")


@pytest.mark.parametrize("noted", ["patches", "absolute"])
def test_what_is_nowhere_is_said_with_the_remedy(noted: str, tmp_path: Path) -> None:
    where = str(tmp_path / "gone") if noted == "absolute" else noted
    with pytest.raises(MismatchError, match="are not at") as caught:
        patches_folder(make_run(tmp_path, where))
    assert "--patches" in caught.value.mend
    with pytest.raises(MismatchError, match="brings no pairs"):
        patches_folder(make_run(tmp_path, where, train_pairs=0))
