"""Mining on a Ray cluster: the same bytes as on one machine, also when a node is lost."""

import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import types
from contextlib import closing
from pathlib import Path

import pytest

from toolkit.errors import StorageError, VrError
from toolkit.mining.work.jobs import Trouble
from toolkit.mining.work.ray_cluster import RayCluster, _attempt
from toolkit.mining.work.run import How, mine
from toolkit.mining.work.survey import Survey, Surveyed
from toolkit.patches.shards import read_pairs

HERE = Path(__file__).parent
ROOT = HERE.parents[3]

needs_ray = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed (make test-all brings the extra scale)",
    ),
]


def on_two_nodes(videos, out, mode):
    done = subprocess.run(
        [sys.executable, HERE / "ray_mine.py", videos, out, mode],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", [pytest.param(m, marks=needs_ray) for m in ("calm", "lose")])
def test_two_nodes_give_the_same_bytes_also_when_one_is_lost(
    mode, clips, content, tmp_path, settings, segment_s
):
    videos, how = tmp_path / "videos", How(segment_s=segment_s)
    videos.mkdir()
    for clip in clips.iterdir():  # more of them, so that both nodes are in the middle of it
        for number in range(4):
            whole = clip.read_bytes() + number.to_bytes(4, "big")
            (videos / f"{number}{clip.name}").write_bytes(whole)
    told = on_two_nodes(videos, tmp_path / "cluster", mode)
    assert (told["videos"], told["quarantined"]) == (12, [])
    plain = mine([videos], tmp_path / "alone", settings, None, how)
    assert content(tmp_path / "cluster") == content(tmp_path / "alone")
    pairs = read_pairs(tmp_path / "cluster")
    assert told["pairs"] == plain.pairs == len(pairs)
    assert len({stored.pair.key for stored in pairs}) == len(pairs)
    assert (told["torn"] > 0) == (mode == "lose")


def test_a_node_that_sees_another_folder_mines_nothing(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    job = Survey(clips / "a.mp4", Path("p"), 2.0)
    for content in (None, "another run"):
        if content:
            (tmp_path / "p" / ".lock").write_text(content)
        answer = _attempt(job, str(tmp_path), "p", "this run")
        assert isinstance(answer, Trouble)
        assert answer.kind is StorageError
        assert "is another folder" in answer.problem
        assert not answer.is_of_the_video
    (tmp_path / "p" / ".lock").write_text("this run")
    monkeypatch.chdir(clips)
    assert isinstance(_attempt(job, str(tmp_path), "p", "this run"), Surveyed)


class LostError(Exception):
    """What the stand-in raises for a task that was given up."""


class FakeRay(types.ModuleType):
    """A cluster of one node with two processors, which does a task when it is waited for."""

    def __init__(self):
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(
            RayError=LostError, RaySystemError=ZeroDivisionError
        )
        self.alive = [{"NodeID": "1", "Alive": True, "NodeManagerHostname": "east"}]
        self.is_up = False
        self.fails = False

    def init(self, **settings):
        self.is_up = settings["address"] == "auto"
        if not self.is_up:
            raise ConnectionError("nobody there\nand more of it")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does

    def remote(self, function):
        submit = types.SimpleNamespace(remote=lambda *given: (function, given))
        return types.SimpleNamespace(options=lambda **_: submit)

    def wait(self, tasks, timeout):
        print("Ray says a lot")
        return tasks[:1], tasks[1:]

    def get(self, task):
        if self.fails:
            raise LostError("the worker died\nand a page of it")
        function, given = task
        return function(*given)

    def nodes(self):
        return self.alive

    def cluster_resources(self):
        return {"CPU": 2.0}

    def is_initialized(self):
        return self.is_up

    def shutdown(self):
        self.is_up = False


@pytest.fixture
def fake_ray(tmp_path, monkeypatch):
    ray = FakeRay()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


def test_a_cluster_is_used_and_left_as_it_was(
    fake_ray, clips, undisturbed, content, settings, segment_s, tmp_path, capsys
):
    before = signal.getsignal(signal.SIGTERM)
    out = tmp_path / "p"
    mine([clips], out, settings, None, How(segment_s=segment_s, ray="auto"))
    assert content(out) == undisturbed  # the mark in the lock is gone, too
    assert signal.getsignal(signal.SIGTERM) == before
    assert not fake_ray.is_up
    assert capsys.readouterr().out == ""


def test_what_the_cluster_gives_up_is_set_aside(fake_ray, clips, settings, tmp_path):
    fake_ray.fails = True
    report = mine([clips], tmp_path / "p", settings, None, How(ray="auto"))
    assert [Path(q.path).name for q in report.quarantined] == ["a.mp4", "b.mp4", "c.mp4"]
    assert "after 4 attempts: the worker died" in report.quarantined[0].reason
    assert "a page of it" not in report.quarantined[0].reason


def test_a_lost_node_is_told_once(fake_ray, tmp_path, monkeypatch):
    clock = itertools.count(step=10)
    monkeypatch.setattr("toolkit.mining.work.ray_cluster.time.monotonic", lambda: next(clock))
    cluster = RayCluster("auto", tmp_path)
    assert cluster.free() == 4
    cluster.start(Survey(tmp_path / "nowhere.mp4", tmp_path, 2.0))
    assert cluster.free() == 3
    fake_ray.alive = [fake_ray.alive[0] | {"Alive": False}]
    cluster.free()
    cluster.close()
    assert cluster.notes == ["the node east was lost; others did its work again"]


def test_a_cluster_that_went_away_is_an_error(fake_ray, tmp_path):
    cluster = RayCluster("auto", tmp_path)
    cluster.start(Survey(tmp_path / "nowhere.mp4", tmp_path, 2.0))
    fake_ray.wait = lambda tasks, timeout: 1 / 0
    with closing(cluster), pytest.raises(VrError, match="cluster went away") as caught:
        cluster.next(1.0)
    assert "kept" in caught.value.mend


def test_an_address_where_nobody_is(fake_ray, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # somebody, but no cluster
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(VrError, match=r"cannot be reached: nobody there\."):
            RayCluster(address, tmp_path)
    with pytest.raises(VrError, match=r"cannot be reached: .*refused\."):
        RayCluster(address, tmp_path)
    assert (tmp_path / ".lock").read_text() == ""


def test_auto_does_not_wait_for_a_cluster_that_is_long_gone(fake_ray, tmp_path, monkeypatch):
    (tmp_path / "none" / "ray").mkdir(parents=True)
    (tmp_path / "none" / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")
    with pytest.raises(VrError, match=r"at 127\.0\.0\.1:1 cannot be reached"):
        RayCluster("auto", tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(VrError, match=r"at 127\.0\.0\.1:2 cannot be reached"):
        RayCluster("auto", tmp_path)
