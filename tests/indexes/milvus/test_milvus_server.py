"""Over the network: the embedded engine behind a port stands in for a server.

It is Milvus's own engine and protocol, but one process on one machine: it has no users,
databases, replicas or types of index beyond its own. Those have not been tried.
"""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from indexes.build.settings import BuildSettings
from indexes.milvus.address import parse_address
from indexes.milvus.engine import _servers
from indexes.open import build, info, open_store, remove, verify
from toolkit.errors import StorageError


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    _servers()  # imports it without its warning
    from milvus_lite.server import Server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    served = Server(str(tmp_path_factory.mktemp("served") / "milvus.db"), f"127.0.0.1:{number}")
    assert served.init()
    assert served.start()
    yield number
    process = served._p
    served._p = None  # it would wait for the process to end by itself, and this one does not
    process.kill()
    process.wait()
    served.stop()


@pytest.fixture
def server(port, request, monkeypatch):
    """An address with a prefix of its own; writers wait less for one another."""
    monkeypatch.setattr("indexes.milvus.lease._SETTLE_S", 0.05)
    return parse_address(f"milvus:http://127.0.0.1:{port}?prefix={request.node.name}")


def test_build_search_remove(server, embedder, pictures) -> None:
    paths = pictures(5)
    build(server, paths, embedder)
    assert (info(server).vectors, info(server).size_bytes) == (5, 0)
    remove(server, [str(paths[1])])
    assert build(server, pictures(6), embedder).added == 2
    assert verify(server).problems == ()
    store = open_store(server)
    everything = store.nearest(np.eye(1, 16, dtype=np.float32), 9)
    assert sorted(everything.patches[0].tolist()) == [1, 3, 4, 5, 6, 7]
    store.close()


def test_readers_go_on_while_a_writer_writes(server, embedder, pictures) -> None:
    build(server, pictures(10), embedder)
    script = f"""
import sys
import numpy as np
from indexes.milvus.address import parse_address
from indexes.open import open_store
query = np.eye(1, 16, dtype=np.float32)
counts = []
print("ready", flush=True)
while not counts or counts[-1] < 60:
    store = open_store(parse_address({server.text!r}))
    found = store.nearest(query, 1000)
    ids = sorted(found.patches[0].tolist())
    assert ids == list(range(1, len(store) + 1)), (len(store), ids)
    assert sorted(store.places(ids)) == ids
    counts.append(len(store))
    store.close()
    print(len(store), flush=True)
assert counts == sorted(counts)
assert all(count % 10 == 0 for count in counts), counts
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline().strip() == "ready"
    for many in range(20, 70, 10):
        assert int(reader.stdout.readline() or 0) < many  # it has read at least once since
        build(server, pictures(many), embedder, BuildSettings(batch=4))
    _, err = reader.communicate(timeout=120)
    assert reader.returncode == 0, err


def test_a_second_writer_waits_or_is_told(server, embedder, other_embedder, pictures) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Waiting(type(embedder)):
        def embed(self, images):
            begun.set()
            assert go_on.wait(30)
            return super().embed(images)

    first = threading.Thread(target=build, args=(server, pictures(3), Waiting()))
    first.start()
    assert begun.wait(30)
    with pytest.raises(StorageError, match="is writing"):
        build(server, pictures(5), embedder)
    threading.Timer(0.3, go_on.set).start()
    report = build(server, pictures(5), embedder, BuildSettings(wait_s=30))
    first.join()
    assert (report.added, report.skipped) == (2, 3)


def test_overwriting_while_somebody_reads(server, embedder, pictures) -> None:
    build(server, pictures(4), embedder)
    reader = open_store(server)
    build(server, pictures(2), embedder, BuildSettings(overwrite=True))
    with pytest.raises(StorageError, match="built anew or deleted"):
        reader.nearest(np.eye(1, 16, dtype=np.float32), 3)
    reader.close()
    again = open_store(server)
    assert len(again) == 2
    again.close()
