"""The timing cache between builds, with a stand-in of TensorRT: no GPU runs."""

import threading
from pathlib import Path
from typing import Any

import pytest

from deploy.bundle import read_bundle
from deploy.tensorrt import EngineSettings, Profile, build_engines
from deploy.tensorrt.timing import timing_path
from toolkit.errors import StorageError

BOTH = EngineSettings((Profile(), Profile(1, 1, 1)))


def taken(trt: Any) -> list[bytes]:
    return [call[1] for call in trt.calls if call[0] == "cache"]


def test_it_is_shared_between_builds_and_bundles(
    trt: Any, own_bundle: Path, tmp_path: Path, timings: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(own_bundle, other)
    build_engines(read_bundle(own_bundle), BOTH)
    build_engines(read_bundle(other))
    assert taken(trt) == [b"", b"build1", b"build1 build2"]
    assert timings.read_bytes() == b"build1 build2 build3"
    assert list(own_bundle.rglob("*.timing")) == []


def test_another_gpu_version_and_cuda_have_their_own(
    trt: Any, gpus: list[Any], own_bundle: Path, timings: Path
) -> None:
    from toolkit.machine.cuda import Gpu

    build_engines(read_bundle(own_bundle))
    gpus[0] = Gpu("NVIDIA L4", "sm89", "13.2")
    build_engines(read_bundle(own_bundle))
    trt.__version__ = "11.5.0"
    build_engines(read_bundle(own_bundle))
    assert taken(trt) == [b"", b"", b""]
    assert len(list(timings.parent.iterdir())) == 3


@pytest.mark.parametrize("content", [b"foreign", b"no cache at all"], ids=["foreign", "damaged"])
def test_one_that_tensorrt_refuses_is_not_used(
    content: bytes, trt: Any, own_bundle: Path, timings: Path
) -> None:
    timings.parent.mkdir(parents=True)
    timings.write_bytes(content)
    trt.accepts_cache = lambda offered: offered != b"foreign"
    build_engines(read_bundle(own_bundle))
    assert taken(trt)[-1] == b""
    assert b"build1" in timings.read_bytes()


def test_what_another_build_measured_meanwhile_is_kept(
    trt: Any, own_bundle: Path, timings: Path
) -> None:
    trt.while_building = lambda: timings.write_bytes(b"elsewhere")
    build_engines(read_bundle(own_bundle))
    assert timings.read_bytes() == b"build1 elsewhere"


def test_builds_at_once_never_show_half_a_file(tmp_path: Path) -> None:
    """Readers see one of the contents that were written, whole, while writers write."""
    from deploy.tensorrt.timing import write_timings

    path = tmp_path / "x.timing"
    contents = [bytes([digit]) * 200_000 for digit in range(4)]
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if path.is_file():
                seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    writers = [
        threading.Thread(target=lambda c=c: [write_timings(path, c) for _ in range(5)])
        for c in contents
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert path.read_bytes() in contents


def test_a_folder_that_takes_no_files_is_said_before_the_build(
    trt: Any, own_bundle: Path, cache_home: Path
) -> None:
    (cache_home / "vr").write_text("a file in the way")
    with pytest.raises(StorageError, match="timing cache") as caught:
        build_engines(read_bundle(own_bundle))
    assert "XDG_CACHE_HOME" in caught.value.mend
    assert trt.builds_done == 0


def test_without_xdg_it_lies_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert timing_path("x") == tmp_path / ".cache" / "vr" / "tensorrt" / "x.timing"


def test_an_engine_is_not_lost_where_its_timings_cannot_be_written(
    trt: Any, own_bundle: Path, timings: Path
) -> None:
    """The folder goes away during the build, which may have taken minutes."""
    trt.while_building = lambda: (timings.parent.rmdir(), timings.parent.write_text(""))
    with pytest.raises(StorageError, match="timing"):
        build_engines(read_bundle(own_bundle))
    (engine,) = build_engines(read_bundle(own_bundle))
    assert (engine.reused, trt.builds_done) == (True, 1)
