"""kill -9 at any moment: what was committed is there, what was not is not, and it goes on."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from indexes.milvus.address import parse_address
from indexes.milvus.writing import milvus_sink
from indexes.open import info, open_store, verify
from indexes.records import Filter

SCRIPT = Path(__file__).with_name("milvus_killed_build.py")
spec = importlib.util.spec_from_file_location("milvus_killed_build", SCRIPT)
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)


def start(address: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), address, "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SCRIPT.parents[3],
        env={"PYTHONPATH": str(SCRIPT.parents[3]), "PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
    )


def kill_after(address: str, commits: int, delay_s: float) -> int:
    """Kill a build some time after so many commits; the number of the last one it told."""
    last = -1
    with start(address) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() != "open":
                last = int(line)
                commits -= 1
            if commits <= 0:
                break
        assert commits <= 0, process.stderr.read() if process.stderr else ""
        time.sleep(delay_s)
        process.kill()
        told = process.stdout.read().split()
    return int(told[-1]) if told else last


def check(address: str, told: int) -> None:
    """Every video up to `told`, a whole number of commits more at most, and nothing else."""
    target = parse_address(address)
    assert verify(target).problems == ()
    with closing(open_store(target)) as store:
        videos = len(store) // 20
        assert len(store) == 20 * videos
        assert videos % 2 == 0
        assert told + 1 <= videos <= told + 3
        query = np.eye(1, builder.DIM, dtype=np.float32)
        found = store.nearest(query, 10_000)
        places = store.places(found.patches[0].tolist())
        assert len(places) == len(store)
        names = [f"video {number}" for number in range(videos)]
        assert sorted({place.source for place in places.values()}) == sorted(
            f"{name}.mp4" for name in names
        )
        last = store.nearest(query, 50, Filter(labels=(names[-1],)))
        assert (last.patches >= 0).sum() == 20
        expected = np.sort([patch.vector @ query[0] for patch in builder.patches_of(names[-1])])
        np.testing.assert_allclose(np.sort(last.scores[0, :20]), expected, atol=1e-6)


def go_on(address: str) -> None:
    """The next writer sweeps what the killed one left, and adds one more commit."""
    target = parse_address(address)
    with milvus_sink(target, builder.CARD) as sink:
        number = sink.state.vectors // 20
        for key in (number, number + 1):
            name = f"video {key}"
            source = builder.Source(Path(name), "table", "vectors")
            assert not sink.has_input(source, name)
            begun = sink.begin_input(source, name)
            rows = builder.patches_of(name)
            assert not any(sink.holds(patch) for patch in rows)
            sink.add([builder.NewRow(patch, patch.vector, b"jpeg", begun) for patch in rows])
        sink.commit()
    found = verify(target)
    assert (found.problems, found.leftovers) == ((), ())


def test_killed_once(tmp_path: Path) -> None:
    address = f"milvus:{tmp_path / 'index'}"
    told = kill_after(address, 2, 0.03)
    check(address, told)
    go_on(address)


@pytest.mark.slow
def test_killed_at_many_moments(tmp_path: Path) -> None:
    address = f"milvus:{tmp_path / 'index'}"
    generator = np.random.default_rng(0)
    for _ in range(12):
        told = kill_after(address, int(generator.integers(1, 4)), generator.uniform(0, 0.2))
        check(address, told)
    go_on(address)


def test_a_second_process_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with milvus_sink(parse_address(f"milvus:{folder}"), builder.CARD):
        process = start(f"milvus:{folder}")
        _, said = process.communicate(timeout=60)
    assert "serves one at a time" in said
    assert process.returncode != 0


INTERRUPTED = """
import sys
import time
from pathlib import Path

from indexes.build.settings import BuildSettings
from indexes.milvus.address import parse_address
from indexes.open import build
from tests.indexes.conftest import FakeEmbedder


class Slow(FakeEmbedder):
    def embed(self, images):
        time.sleep(0.1)
        print(self.seen, flush=True)
        return super().embed(images)


settings = BuildSettings(batch=4)
build(parse_address(sys.argv[1]), [Path(sys.argv[2])], Slow(), settings)
"""


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, pictures) -> None:
    """The terminal sends it to the engine's process too."""
    target = f"milvus:{tmp_path / 'index'}"
    folder = pictures(60)[0].parent
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED, target, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SCRIPT.parents[3],
        start_new_session=True,
    )
    for line in process.stdout:
        if int(line) >= 20:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert verify(parse_address(target)).problems == ()
    assert 20 <= info(parse_address(target)).vectors < 60
