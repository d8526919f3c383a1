"""Files and folders come whole or not at all: kills, full disks, and JSON nobody vouches for."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from toolkit import drafts
from toolkit.drafts import recover
from toolkit.errors import MismatchError, StorageError
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing
from toolkit.workspace import atomic_file, atomic_folder, read_json, write_bytes, write_json

ROOT = Path(__file__).parents[2]


def run_killed(code, folder):
    """Run code in a process of its own, with `folder` given, that kills itself by kill -9."""
    script = "import os, signal\nfrom pathlib import Path\nfrom toolkit.workspace import *\n"
    script += f"folder = Path({str(folder)!r})\nkill = lambda *_: os.kill(os.getpid(), 9)\n"
    done = subprocess.run(
        [sys.executable, "-c", script + textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_is_swept_by_the_next_one_of_the_same_name(tmp_path):
    code = """
        with atomic_file(folder / "a.tar") as draft:
            draft.write_bytes(b"half")
            kill()
    """
    run_killed(code, tmp_path)
    (left,) = names(tmp_path)
    assert left.startswith(".a.tar.")
    write_bytes(tmp_path / "b.tar", b"b")
    write_bytes(tmp_path / "a", b"a")
    assert names(tmp_path) == [left, "a", "b.tar"]
    write_bytes(tmp_path / "a.tar", b"whole")
    assert names(tmp_path) == ["a", "a.tar", "b.tar"]


def test_the_drafts_of_living_processes_and_the_files_of_others_stay(tmp_path):
    with atomic_file(tmp_path / "a") as mine:
        host = mine.name.split(".")[2].split("-")[0]
        parent = tmp_path / f".a.{host}-{os.getppid()}.0123abcd"
        foreign = tmp_path / f".a.{int(host, 16) ^ 1:08x}-{2**22 + 1}.0123abcd"
        hidden = tmp_path / ".a.notes"
        for path in (parent, foreign, hidden):
            path.touch()
        write_bytes(tmp_path / "a", b"second")
        for path in (mine, parent, foreign, hidden):
            assert path.exists()
        mine.write_bytes(b"first")
    assert (tmp_path / "a").read_bytes() == b"first"
    os.utime(foreign, (0, 0))  # a draft of another machine, long forgotten
    write_bytes(tmp_path / "a", b"third")
    assert names(tmp_path) == sorted([".a.notes", parent.name, "a"])


def test_a_forerunner_of_the_same_number_is_no_living_process(tmp_path, monkeypatch):
    """As in a container, where every run is process 1."""
    draft = drafts.new_draft(tmp_path / "a")
    monkeypatch.setattr(drafts, "_open", set())
    write_bytes(tmp_path / "a", b"x")
    assert not draft.exists()


KILLED_FOLDER = """
    from toolkit import drafts
    with atomic_folder(folder / "out") as draft:
        (draft / "new").write_text("new")
        original = Path.replace
        def replace(self, target):
            if {before}: kill()
            result = original(self, target)
            if {after}: kill()
            return result
        Path.replace = replace
"""


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("True", "False", "old"),  # nothing is renamed yet
        ("False", "True", "old"),  # the old one is aside, the new one has no name yet
        ("False", "self == draft", "new"),  # the old one is aside and not yet removed
    ],
)
def test_a_folder_is_found_after_a_kill_between_any_two_renames(tmp_path, before, after, found):
    out = tmp_path / "out"
    with atomic_folder(out) as draft:
        (draft / "old").write_text("old")
    run_killed(KILLED_FOLDER.format(before=before, after=after), tmp_path)
    assert len(names(tmp_path)) > 1 or not out.exists()
    recover(out)
    assert names(out) == [found]
    with atomic_folder(out) as draft:
        (draft / "third").touch()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["third"]


def test_a_writer_that_fails_after_a_kill_leaves_the_recovered_folder(tmp_path):
    out = tmp_path / "out"
    with atomic_folder(out) as draft:
        (draft / "old").write_text("old")
    run_killed(KILLED_FOLDER.format(before="False", after="True"), tmp_path)
    with pytest.raises(RuntimeError), atomic_folder(out):
        raise RuntimeError
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]


def test_recovering_where_there_is_nothing_makes_nothing(tmp_path):
    recover(tmp_path / "gone" / "out")
    recover(tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_an_input_that_is_not_there_is_not_blamed_on_the_target(tmp_path, make):
    with pytest.raises(FileNotFoundError, match="no input"), make(tmp_path / "out"):
        (tmp_path / "no input").read_bytes()
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_target_without_room_is_blamed(tmp_path, make, number):
    with pytest.raises(StorageError, match=r"Cannot write .*out"), make(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


def test_a_write_that_stops_in_the_middle_keeps_the_old_file(tmp_path, largest_file):
    write_bytes(tmp_path / "a", b"old")
    with largest_file(1000), pytest.raises(StorageError, match="larger than the system allows"):
        write_bytes(tmp_path / "a", b"x" * 5000)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_weights_that_find_no_room_are_a_storage_error(tmp_path, largest_file):
    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import save_model

    network = EmbeddingNetwork("small", Preprocessing(32, 32), 8)
    with largest_file(20_000), pytest.raises(StorageError, match=r"model\.safetensors"):
        save_model(network, tmp_path / "run", {})
    assert names(tmp_path / "run") == []


def test_nothing_is_written_over_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="no plain file"):
        write_bytes(tmp_path / "pipe", b"x")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b"[" * 60_000, b'{"a":' * 60_000, b"3", b"9" * 5000]
)
def test_what_is_no_json_object_is_a_mismatch(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(MismatchError, match=r"x\.json is no .*card"):
        read_json(tmp_path / "x.json", "card")


def test_json_is_read_as_it_was_written(tmp_path):
    content = {"b": [1, 2.5, None], "a": "é"}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json", "card") == content
    assert json.loads((tmp_path / "x.json").read_text()) == content


CARD = ModelCard("small", 8, Preprocessing(32, 32), "f" * 64, {"run": "r"})


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 10**12},
        {"dim": -4},
        {"dim": 0},
        {"dim": float("inf")},
        {"dim": None},
        {"lineage": 3},
        {"version": 2},
        {"preprocessing": {**CARD.preprocessing.as_json(), "scale": float("nan")}},
        {"preprocessing": {**CARD.preprocessing.as_json(), "scale": 10**400}},
        {"preprocessing": {**CARD.preprocessing.as_json(), "height": 10**12}},
        {"preprocessing": []},
    ],
)
def test_a_card_that_makes_no_sense_is_a_mismatch(tmp_path, change):
    (tmp_path / "model.json").write_text(json.dumps({**CARD.as_json(), **change}))
    with pytest.raises(MismatchError, match=r"model\.json"):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize("change", [{"backbone": "resnet"}, {"dim": 9}, {"backbone": "alexnet"}])
def test_a_card_that_its_weights_do_not_fit_is_a_mismatch(tmp_path, change):
    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import load_model, save_model

    card = save_model(EmbeddingNetwork("small", Preprocessing(32, 32), 8), tmp_path, {})
    (tmp_path / "model.json").write_text(json.dumps({**card.as_json(), **change}))
    with pytest.raises(MismatchError) as caught:
        load_model(tmp_path)
    assert caught.value.exit_code == 5


def test_the_largest_embedding_is_taken(tmp_path):
    content = {**CARD.as_json(), "dim": 65_536}
    assert ModelCard.from_json(content, "x").dim == 65_536
    with pytest.raises(MismatchError, match="65537"):
        ModelCard.from_json({**content, "dim": 65_537}, "x")


def test_weights_are_whole_tensors_again(tmp_path):
    from safetensors.numpy import load_file

    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import save_model

    network = EmbeddingNetwork("small", Preprocessing(32, 32), 8)
    save_model(network, tmp_path, {})
    read = load_file(tmp_path / "model.safetensors")
    expected = network.state_dict()
    assert set(read) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_a_pipe_is_no_json_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(MismatchError, match="no plain file"):
        read_json(tmp_path / "model.json", "model card")
