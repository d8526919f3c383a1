"""What goes wrong with Milvus, and how people are told."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexes.milvus.address import TOKEN_VARIABLE, parse_address
from indexes.milvus.client import connect, milvus_errors
from indexes.milvus.engine import engine, import_pymilvus
from indexes.milvus.writing import milvus_sink
from indexes.open import info, open_store, target_of
from indexes.sources import IndexPatch, Origin, Source
from indexes.stores import NewRow
from toolkit.errors import InputError, MissingError, StorageError, UsageError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_server_is_there(monkeypatch, capfd) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "root:VERYSECRET")
    target = parse_address(f"milvus:http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        open_store(target)
    told = "".join(capfd.readouterr()) + str(caught.value) + repr(caught.value.__cause__)
    assert "VERYSECRET" not in told
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("auth check failure, please check username and token T0KEN", "does not let this user in"),
        ("PrivilegeInsert: permission deny for T0KEN", "does not let this user in"),
        ("Fail connecting to server on h:1", "cannot be reached"),
        ("quota exceeded\n at\ttask.go T0KEN", "says: quota exceeded at task.go ..."),
    ],
    ids=["token", "privilege", "gone", "other"],
)
def test_what_milvus_says(message: str, told: str, monkeypatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "T0KEN")
    pymilvus = import_pymilvus()
    with pytest.raises(StorageError) as caught, milvus_errors(pymilvus, "milvus:x"):
        raise pymilvus.MilvusException(65535, message)
    assert told in caught.value.problem
    assert "T0KEN" not in str(caught.value)


def test_a_mistake_of_ours_passes_through() -> None:
    with pytest.raises(KeyError), milvus_errors(import_pymilvus(), "milvus:x"):
        raise KeyError("ours")


def test_a_package_is_missing(tmp_path, monkeypatch) -> None:
    (tmp_path / "milvus.db").touch()
    for name in ("pymilvus", "milvus_lite"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingError, match=name) as caught:
            open_store(parse_address(f"milvus:{tmp_path}"))
        assert caught.value.exit_code == 6
        assert "vr-toolkit[scale]" in caught.value.mend
        monkeypatch.undo()


def test_a_file_is_in_the_way(tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="is a file"), engine(tmp_path / "file"):
        pass
    with pytest.raises(StorageError), engine(tmp_path / "file" / "under"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(StorageError, match="not empty: file"), engine(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_reading_does_not_make_a_folder(tmp_path) -> None:
    with pytest.raises(InputError, match="There is no index"):
        info(parse_address(f"milvus:{tmp_path / 'nothing'}"))
    assert not (tmp_path / "nothing").exists()


def test_a_folder_with_any_characters(tmp_path, embedder) -> None:
    raw = os.fsencode(tmp_path) + '/it\'s "a" $HOME; ü 日 #%25 ?'.encode() + b"\xff\n"
    folder = Path(os.fsdecode(raw))
    for _ in range(2):
        with milvus_sink(parse_address(f"milvus:{folder}"), embedder.card) as sink:
            vector = np.eye(1, 16, dtype=np.float32)[0]
            origin = Origin("a.png", None, "image", None)
            number = sink.begin_input(Source(Path("a"), "table", "vectors"), str(_))
            patch = IndexPatch(origin, None, (0.0, 0.0, 1.0, 1.0), None, None, vector)
            sink.add([NewRow(patch, vector, None, number)])
            sink.commit()
    assert info(parse_address(f"milvus:{folder}")).vectors == 2


@pytest.mark.parametrize("field", ["path", "camera", "track", "label"])
def test_a_name_that_milvus_does_not_hold(field: str, address, embedder) -> None:
    vector = np.eye(1, 16, dtype=np.float32)[0]
    long = {field: "x" * 20_001}
    origin = Origin(long.get("path", "a.mp4"), None, "video", long.get("camera"))
    patch = IndexPatch(
        origin, 0.0, (0.0, 0.0, 1.0, 1.0), long.get("track"), None, vector, long.get("label")
    )
    good = IndexPatch(Origin("b.mp4", None, "video", None), 1.0, patch.box, None, None, vector)
    with milvus_sink(address, embedder.card) as sink:
        number = sink.begin_input(Source(Path("a"), "table", "vectors"), "a")
        with pytest.raises(InputError, match=f"A {field} is longer"):
            sink.add([NewRow(row, vector, None, number) for row in (good, patch)])
        assert sink.uncommitted == 0


def test_the_longest_names_and_pictures(address, embedder) -> None:
    vector = np.eye(1, 16, dtype=np.float32)[0]
    name = "\x01" * 20_000  # six characters each, as JSON
    origin = Origin("日" * 6_666, None, "video", name[:3000])
    patch = IndexPatch(origin, 0.0, (0.0, 0.0, 1.0, 1.0), "ü" * 10_000, None, vector, name)
    jpeg = bytes(range(256)) * 190
    with milvus_sink(address, embedder.card) as sink:
        number = sink.begin_input(Source(Path("a"), "table", "vectors"), "a")
        sink.add([NewRow(patch, vector, jpeg, number)])
        sink.commit()
    store = open_store(address)
    place = store.places([1])[1]
    assert (place.source, place.camera) == (origin.path, origin.camera)
    assert (place.track, place.label) == (patch.track, patch.label)
    assert store.thumbnails([1]) == {1: jpeg}
    store.close()


def test_an_engine_is_shared_and_ends_with_its_last_user(tmp_path, address) -> None:
    with engine(tmp_path / "e") as first, engine(tmp_path / "x" / ".." / "e") as second:
        assert first == second
    with engine(tmp_path / "e") as third:
        assert third != first
        with connect(parse_address(f"milvus:{tmp_path / 'e'}"), make=True) as client:
            assert client.collections() == []


def test_importing_reads_no_settings_and_logs_nothing() -> None:
    import_pymilvus()
    assert "PYTHON_DOTENV_DISABLED" not in os.environ
    assert not logging.getLogger("pymilvus").isEnabledFor(logging.CRITICAL)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, indexes.open, indexes.milvus.keep, indexes.milvus.build, "
        "indexes.milvus.store, indexes.milvus.writing; "
        "heavy = {'pymilvus', 'milvus_lite', 'grpc', 'pandas', 'faiss', 'torch', 'cv2', 'av'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_or_an_address(tmp_path) -> None:
    assert target_of(tmp_path, None) == tmp_path
    assert target_of(tmp_path, "milvus:http://h").server == "http://h"
    with pytest.raises(UsageError):
        target_of(tmp_path, str(tmp_path))
