"""Searching holds little memory of its own: the vectors stay in the mapped file."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import pickle, sys
from pathlib import Path
import numpy as np
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import open_segment

def held():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) * 1024

load_faiss()
queries = np.eye(64, dtype=np.float32)
np.ones((64, 64), np.float32) @ queries
before = held()
opened = open_segment(Path(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2])), 64)
for query in queries:
    opened.search(query[None], 10)
print(held() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells its memory")
@pytest.mark.parametrize("key", ["Flat", "IVF32,SQ8"])
def test_a_search_of_25_megabytes_of_vectors_holds_a_few(
    tmp_path, make_vectors, write_flat, plan_of, key
):
    import pickle

    from indexes.vectors.approximate import index_segment

    vectors = make_vectors(100_000, 64)
    segment = index_segment(tmp_path, write_flat(vectors), 64, plan_of(key))
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path, pickle.dumps(segment).hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 4 * 2**20 < vectors.nbytes / 6
